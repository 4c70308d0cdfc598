/**
 * Softmax, log-softmax, and the log-probability of given classes without storing the whole distribution.
 */
import { apply, defineOp, expectType, type Op, type TensorSpec } from "../op.ts";
import { formatShape, sameShape } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { sum } from "./broadcast.ts";
import { exp, mul, sub } from "./elementwise.ts";
import { oneHot } from "./embedding.ts";

export const softmaxOp: Op<{ x: Tensor }, { log: boolean }> = defineOp({
  name: "softmax",
  infer({ x }: { x: Tensor }): TensorSpec[] {
    expectType("softmax", "x", x, "f32");
    return [{ shape: x.shape, dtype: "f32" }];
  },
  forward(device, { x }, [out], { log }: { log: boolean }) {
    const n = x.shape[x.rank - 1];
    device.run("softmax", { x: x.storage, out: out.storage, rows: x.size / n, n, log });
  },
  gradient: ({ outputs: [out], upstream: [g], params: { log } }) => ({
    x: log ? sub(g, mul(exp(out), sum(g, -1, true))) : mul(out, sub(g, sum(mul(g, out), -1, true))),
  }),
  saves: ["out"],
});

/** Softmax of the last axis: x[..., n] -> [..., n], f32. */
export const softmax = (x: Tensor): Tensor => apply(softmaxOp, { x }, { log: false });

/** Log-softmax of the last axis, in nats: x[..., n] -> [..., n], f32. */
export const logSoftmax = (x: Tensor): Tensor => apply(softmaxOp, { x }, { log: true });

export const logSoftmaxGatherOp: Op<{ x: Tensor; index: Tensor }, null> = defineOp({
  name: "logSoftmaxGather",
  infer({ x, index }: { x: Tensor; index: Tensor }): TensorSpec[] {
    expectType("logSoftmaxGather", "x", x, "f32");
    expectType("logSoftmaxGather", "index", index, "i32");
    if (!sameShape(index.shape, x.shape.slice(0, -1))) {
      throw new TypeError(
        `logSoftmaxGather: index expects shape ${formatShape(x.shape.slice(0, -1))}, got ${formatShape(index.shape)}`,
      );
    }
    return [{ shape: index.shape, dtype: "f32" }];
  },
  forward(device, { x, index }, [out]) {
    const n = x.shape[x.rank - 1];
    device.run("logSoftmaxGather", {
      x: x.storage,
      index: index.storage,
      out: out.storage,
      rows: index.size,
      n,
    });
  },
  gradient: ({ inputs: { x, index }, upstream: [g] }) => ({
    x: mul(sub(oneHot(index, x.shape[x.rank - 1]), softmax(x)), g.reshape(...g.shape, 1)),
  }),
  saves: ["x", "index"],
});

/**
 * logSoftmax(x)[..., index[...]]: the log-probability, in nats, of class index[...] (i32) under logits x[..., classes].
 * Throws TypeError when shapes do not fit.
 */
export const logSoftmaxGather = (x: Tensor, index: Tensor): Tensor => apply(logSoftmaxGatherOp, { x, index }, null);
