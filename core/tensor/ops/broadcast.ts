/**
 * Broadcasting and its inverse: `broadcastTo` repeats elements, `sum` adds them up again. Each is the other's gradient,
 * so they share a file.
 */
import { apply, defineOp, expectType, type Op } from "../op.ts";
import { aroundAxis, broadcastStrides, formatShape, resolveAxis, type Shape, stridesOf } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { copyRegion } from "./shape.ts";

export const broadcastToOp: Op<{ x: Tensor }, { shape: Shape }> = defineOp({
  name: "broadcastTo",
  infer({ x }: { x: Tensor }, { shape }: { shape: Shape }) {
    expectType("broadcastTo", "x", x, "f32", "i32", "u32");
    const lead = shape.length - x.rank;
    if (lead < 0 || x.shape.some((d, i) => d !== 1 && d !== shape[i + lead])) {
      throw new TypeError(`broadcastTo: ${formatShape(x.shape)} does not broadcast to ${formatShape(shape)}`);
    }
    return [{ shape, dtype: x.dtype }];
  },
  forward(device, { x }, [out]) {
    copyRegion(device, x, out, {
      shape: out.shape,
      xStrides: broadcastStrides(x.shape, out.shape),
      xOffset: 0,
      outStrides: stridesOf(out.shape),
      outOffset: 0,
    });
  },
  gradient: ({ inputs: { x }, upstream: [g] }) => ({ x: sumTo(g, x.shape) }),
  saves: [],
});

/**
 * Repeats x along its axes of size 1 (and new leading ones) up to `shape`: a copy. f32, i32 or u32.
 * Throws TypeError when x does not broadcast to it.
 */
export const broadcastTo = (x: Tensor, shape: Shape): Tensor => apply(broadcastToOp, { x }, { shape });

/** A copy in separate memory: f32, i32 or u32. */
export const clone = (x: Tensor): Tensor => broadcastTo(x, x.shape);

/** The shape that remains when `axis` is reduced to one element, which is kept as a size of 1 or dropped. */
export function reducedShape(shape: Shape, axis: number, keepDims: boolean): number[] {
  return keepDims ? shape.map((d, i) => (i === axis ? 1 : d)) : shape.filter((_, i) => i !== axis);
}

/** Throws unless `x` can be reduced along `axis`: f32, and at least one element long. */
export function expectReducible(op: string, x: Tensor, axis: number): void {
  expectType(op, "x", x, "f32");
  if (x.shape[axis] === 0) throw new TypeError(`${op}: axis ${axis} of ${formatShape(x.shape)} is empty`);
}

interface SumParams {
  readonly axis: number;
  readonly keepDims: boolean;
}

export const sumOp: Op<{ x: Tensor }, SumParams> = defineOp({
  name: "sum",
  infer({ x }: { x: Tensor }, { axis, keepDims }: SumParams) {
    expectReducible("sum", x, axis);
    return [{ shape: reducedShape(x.shape, axis, keepDims), dtype: "f32" }];
  },
  forward(device, { x }, [out], { axis }) {
    device.run("reduce", { op: "sum", x: x.storage, out: out.storage, ...aroundAxis(x.shape, axis) });
  },
  gradient: ({ inputs: { x }, upstream: [g], params: { axis } }) => ({
    x: broadcastTo(g.reshape(...reducedShape(x.shape, axis, true)), x.shape),
  }),
  saves: [],
});

/**
 * Sums along one axis, which is dropped or kept as 1, or over all elements (result shape []) when `axis` is not given.
 * Throws RangeError when x has no such axis.
 */
export function sum(x: Tensor, axis?: number, keepDims: boolean = false): Tensor {
  if (axis === undefined) {
    using flat = x.reshape(x.size);
    return apply(sumOp, { x: flat }, { axis: 0, keepDims: false });
  }
  return apply(sumOp, { x }, { axis: resolveAxis("sum", axis, x.rank), keepDims });
}

/** Sums x over the axes along which a tensor of shape `shape` was broadcast to x: the inverse of broadcasting. */
export function sumTo(x: Tensor, shape: Shape): Tensor {
  const lead = x.rank - shape.length;
  let result = x;
  for (let axis = 0; axis < x.rank; axis++) {
    const target = axis < lead ? 1 : shape[axis - lead];
    if (target === 1 && x.shape[axis] !== 1) result = sum(result, axis, true);
  }
  return result.reshape(...shape);
}
