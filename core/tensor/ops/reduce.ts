/**
 * Reductions along one axis, or over all elements: mean, extremes and their positions. `sum` is in broadcast.ts.
 * Softmax and norms reduce, too, but are fused ops (softmax.ts, norm.ts).
 */
import { apply, applyAll, defineOp, expectType, type Op } from "../op.ts";
import { aroundAxis, resolveAxis } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { broadcastTo, expectReducible, reducedShape, sum } from "./broadcast.ts";
import { affine, div, equal, mul } from "./elementwise.ts";

type ReduceName = "mean" | "max" | "min";

interface AxisParams<N extends string> {
  readonly op: N;
  readonly axis: number;
  readonly keepDims: boolean;
}

export const reduceOp: Op<{ x: Tensor }, AxisParams<ReduceName>> = defineOp({
  name: "reduce",
  infer({ x }: { x: Tensor }, { op, axis, keepDims }: AxisParams<ReduceName>) {
    expectReducible(op, x, axis);
    return [{ shape: reducedShape(x.shape, axis, keepDims), dtype: "f32" }];
  },
  forward(device, { x }, [out], { op, axis }) {
    device.run("reduce", { op, x: x.storage, out: out.storage, ...aroundAxis(x.shape, axis) });
  },
  gradient: ({ inputs: { x }, outputs: [out], upstream: [upstream], params: { op, axis } }) => {
    const kept = reducedShape(x.shape, axis, true);
    const g = upstream.reshape(...kept);
    if (op === "mean") return { x: broadcastTo(affine(g, 1 / x.shape[axis]), x.shape) };
    // Equal extremes share the gradient, as in PyTorch's amax and amin.
    const extreme = equal(x, out.reshape(...kept));
    return { x: mul(extreme, div(g, sum(extreme, axis, true))) };
  },
  saves: (_, { op }) => op === "mean" ? [] : ["x", "out"],
});

export const argReduceOp: Op<{ x: Tensor }, AxisParams<"argmax" | "argmin">> = defineOp({
  name: "argReduce",
  infer({ x }: { x: Tensor }, { op, axis, keepDims }: AxisParams<"argmax" | "argmin">) {
    expectReducible(op, x, axis);
    return [{ shape: reducedShape(x.shape, axis, keepDims), dtype: "i32" }];
  },
  forward(device, { x }, [out], { op, axis }) {
    device.run("argReduce", { op, x: x.storage, out: out.storage, ...aroundAxis(x.shape, axis) });
  },
  gradient: "the result is an index",
});

export const topKOp: Op<{ x: Tensor }, { k: number }> = defineOp({
  name: "topK",
  infer({ x }: { x: Tensor }, { k }: { k: number }) {
    expectType("topK", "x", x, "f32");
    const n = x.shape[x.rank - 1];
    if (!(Number.isInteger(k) && k >= 1 && k <= n)) throw new RangeError(`topK: k expects 1 to ${n}, got ${k}`);
    const shape = [...x.shape.slice(0, -1), k];
    return [{ shape, dtype: "f32" }, { shape, dtype: "i32" }];
  },
  forward(device, { x }, [values, indices], { k }) {
    const n = x.shape[x.rank - 1];
    device.run("topK", {
      x: x.storage,
      values: values.storage,
      indices: indices.storage,
      rows: x.size / n,
      n,
      k,
    });
  },
  gradient: "not needed so far",
});

/** Reduces one axis, or all of them (result shape []) when `axis` is not given. */
function reduce(op: ReduceName, x: Tensor, axis?: number, keepDims = false): Tensor {
  if (axis === undefined) {
    using flat = x.reshape(x.size);
    return apply(reduceOp, { x: flat }, { op, axis: 0, keepDims: false });
  }
  return apply(reduceOp, { x }, { op, axis: resolveAxis(op, axis, x.rank), keepDims });
}

/** Means along one axis, or of all elements; arguments, result shape and errors as in `sum`. */
export const mean = (x: Tensor, axis?: number, keepDims: boolean = false): Tensor => reduce("mean", x, axis, keepDims);

/** Largest elements along one axis, or of all; arguments, result shape and errors as in `sum`. */
export const max = (x: Tensor, axis?: number, keepDims: boolean = false): Tensor => reduce("max", x, axis, keepDims);

/** Smallest elements along one axis, or of all; arguments, result shape and errors as in `sum`. */
export const min = (x: Tensor, axis?: number, keepDims: boolean = false): Tensor => reduce("min", x, axis, keepDims);

/** Index (i32) of the first largest element along `axis`. Throws RangeError when x has no such axis. */
export function argmax(x: Tensor, axis: number = -1, keepDims: boolean = false): Tensor {
  return apply(argReduceOp, { x }, { op: "argmax", axis: resolveAxis("argmax", axis, x.rank), keepDims });
}

/** Index (i32) of the first smallest element along `axis`. Throws RangeError when x has no such axis. */
export function argmin(x: Tensor, axis: number = -1, keepDims: boolean = false): Tensor {
  return apply(argReduceOp, { x }, { op: "argmin", axis: resolveAxis("argmin", axis, x.rank), keepDims });
}

/**
 * The k largest elements of the last axis, descending, ties by lower index: values and i32 indices, [..., k].
 * Throws RangeError unless k is from 1 to the size of the axis.
 */
export function topK(x: Tensor, k: number): { values: Tensor; indices: Tensor } {
  const [values, indices] = applyAll(topKOp, { x }, { k });
  return { values, indices };
}
