/**
 * Changes of layout: permute, slice, concat, pad. Each is a strided copy; only `reshape`, a method of tensors, is free.
 * Elements may be f32, i32 or u32. Broadcasting is in broadcast.ts.
 */
import type { Device } from "../device.ts";
import { apply, defineOp, expectType, type Op } from "../op.ts";
import { collapse, formatShape, resolveAxis, type Shape, stridesOf } from "../shape.ts";
import type { Tensor } from "../tensor.ts";

/** Which elements of x go where in out, in elements. */
interface Region {
  readonly shape: Shape;
  readonly xStrides: readonly number[];
  readonly xOffset: number;
  readonly outStrides: readonly number[];
  readonly outOffset: number;
}

/** Copies the elements of one region; a stride of 0 in x repeats. */
export function copyRegion(device: Device, x: Tensor, out: Tensor, region: Region): void {
  if (region.shape.includes(0)) return;
  const { shape, strideSets: [xStrides, outStrides] } = collapse(region.shape, [region.xStrides, region.outStrides]);
  const { xOffset, outOffset } = region;
  device.run("stridedCopy", { x: x.storage, out: out.storage, shape, xStrides, xOffset, outStrides, outOffset });
}

export const permuteOp: Op<{ x: Tensor }, { axes: readonly number[] }> = defineOp({
  name: "permute",
  infer({ x }: { x: Tensor }, { axes }: { axes: readonly number[] }) {
    expectType("permute", "x", x, "f32", "i32", "u32");
    const sorted = [...axes].sort((a, b) => a - b);
    if (axes.length !== x.rank || sorted.some((a, i) => a !== i)) {
      throw new TypeError(`permute: expected an order of ${x.rank} axes, got [${axes.join(", ")}]`);
    }
    return [{ shape: axes.map((a) => x.shape[a]), dtype: x.dtype }];
  },
  forward(device, { x }, [out], { axes }) {
    const strides = stridesOf(x.shape);
    copyRegion(device, x, out, {
      shape: out.shape,
      xStrides: axes.map((a) => strides[a]),
      xOffset: 0,
      outStrides: stridesOf(out.shape),
      outOffset: 0,
    });
  },
  gradient: ({ upstream: [g], params: { axes } }) => ({ x: permute(g, ...axes.map((_, i) => axes.indexOf(i))) }),
  saves: [],
});

/** Reorders axes: output axis i is input axis axes[i]. Throws TypeError unless `axes` is an order of all axes. */
export const permute = (x: Tensor, ...axes: number[]): Tensor => apply(permuteOp, { x }, { axes });

/** Swaps the last two axes: x[..., m, n] -> [..., n, m]. */
export function transpose(x: Tensor): Tensor {
  const axes = x.shape.map((_, i) => i);
  [axes[x.rank - 1], axes[x.rank - 2]] = [axes[x.rank - 2], axes[x.rank - 1]];
  return permute(x, ...axes);
}

interface SliceParams {
  readonly axis: number;
  readonly start: number;
  readonly end: number;
}

export const sliceOp: Op<{ x: Tensor }, SliceParams> = defineOp({
  name: "slice",
  infer({ x }: { x: Tensor }, { axis, start, end }: SliceParams) {
    expectType("slice", "x", x, "f32", "i32", "u32");
    if (!(Number.isInteger(start) && Number.isInteger(end) && 0 <= start && start < end && end <= x.shape[axis])) {
      throw new RangeError(`slice: [${start}, ${end}) is not inside axis ${axis} of ${formatShape(x.shape)}`);
    }
    return [{ shape: x.shape.map((d, i) => (i === axis ? end - start : d)), dtype: x.dtype }];
  },
  forward(device, { x }, [out], { axis, start }) {
    const xStrides = stridesOf(x.shape);
    copyRegion(device, x, out, {
      shape: out.shape,
      xStrides,
      xOffset: start * xStrides[axis],
      outStrides: stridesOf(out.shape),
      outOffset: 0,
    });
  },
  gradient: ({ inputs: { x }, upstream: [g], params: { axis, start, end } }) => ({
    x: pad(g, x.shape.map((d, i) => (i === axis ? [start, d - end] : [0, 0]))),
  }),
  saves: [],
});

/**
 * Elements start to end - 1 along `axis`; `end` is the size of the axis when not given. Throws RangeError outside of
 * it.
 */
export function slice(x: Tensor, axis: number, start: number, end?: number): Tensor {
  const resolved = resolveAxis("slice", axis, x.rank);
  return apply(sliceOp, { x }, { axis: resolved, start, end: end ?? x.shape[resolved] });
}

export const concatOp: Op<{ [name: string]: Tensor }, { axis: number }> = defineOp({
  name: "concat",
  infer(inputs: { [name: string]: Tensor }, { axis }: { axis: number }) {
    const parts = Object.values(inputs);
    const first = parts[0];
    let total = 0;
    for (const part of parts) {
      expectType("concat", "every part", part, first.dtype);
      const fits = part.rank === first.rank && part.shape.every((d, i) => i === axis || d === first.shape[i]);
      if (!fits) {
        throw new TypeError(
          `concat: part ${formatShape(part.shape)} does not fit ${formatShape(first.shape)} along axis ${axis}`,
        );
      }
      total += part.shape[axis];
    }
    return [{ shape: first.shape.map((d, i) => (i === axis ? total : d)), dtype: first.dtype }];
  },
  forward(device, inputs, [out], { axis }) {
    const outStrides = stridesOf(out.shape);
    let position = 0;
    for (const part of Object.values(inputs)) {
      copyRegion(device, part, out, {
        shape: part.shape,
        xStrides: stridesOf(part.shape),
        xOffset: 0,
        outStrides,
        outOffset: position * outStrides[axis],
      });
      position += part.shape[axis];
    }
  },
  gradient: ({ inputs, upstream: [g], params: { axis }, needs }) => {
    const gradients: { [name: string]: Tensor } = {};
    let position = 0;
    for (const [name, part] of Object.entries(inputs)) {
      if (needs[name]) gradients[name] = slice(g, axis, position, position + part.shape[axis]);
      position += part.shape[axis];
    }
    return gradients;
  },
  saves: [],
});

/** Joins tensors along `axis`; all other sizes must agree. Throws TypeError when they do not, or without tensors. */
export function concat(parts: readonly Tensor[], axis: number): Tensor {
  if (parts.length === 0) throw new TypeError("concat: needs at least one tensor");
  const inputs = Object.fromEntries(parts.map((part, i) => [`part${i}`, part]));
  return apply(concatOp, inputs, { axis: resolveAxis("concat", axis, parts[0].rank) });
}

interface PadParams {
  readonly padding: readonly (readonly [number, number])[];
  readonly value: number;
}

export const padOp: Op<{ x: Tensor }, PadParams> = defineOp({
  name: "pad",
  infer({ x }: { x: Tensor }, { padding }: PadParams) {
    expectType("pad", "x", x, "f32");
    if (padding.length !== x.rank || padding.some(([before, after]) => before < 0 || after < 0)) {
      throw new TypeError(
        `pad: expected ${x.rank} pairs [before, after] of sizes >= 0, got ${JSON.stringify(padding)}`,
      );
    }
    return [{ shape: x.shape.map((d, i) => padding[i][0] + d + padding[i][1]), dtype: x.dtype }];
  },
  forward(device, { x }, [out], { padding, value }) {
    device.run("fill", { out: out.storage, n: out.size, value, dtype: "f32" });
    const outStrides = stridesOf(out.shape);
    copyRegion(device, x, out, {
      shape: x.shape,
      xStrides: stridesOf(x.shape),
      xOffset: 0,
      outStrides,
      outOffset: padding.reduce((sum, [before], i) => sum + before * outStrides[i], 0),
    });
  },
  gradient: ({ inputs: { x }, upstream: [g], params: { padding } }) => {
    let inner = g;
    padding.forEach(([before], axis) => inner = slice(inner, axis, before, before + x.shape[axis]));
    return { x: inner };
  },
  saves: [],
});

/** Surrounds x (f32) with `value`: one pair [before, after] of sizes per axis. Throws TypeError for other paddings. */
export function pad(x: Tensor, padding: readonly (readonly [number, number])[], value: number = 0): Tensor {
  return apply(padOp, { x }, { padding, value });
}

/**
 * Overwrites part of `target` with `x`, starting at `start` along `axis`: the one op that changes a tensor, for caches.
 * Shapes must agree except along `axis`. It has no gradient. Throws RangeError when `x` does not fit.
 */
export function writeSlice(target: Tensor, x: Tensor, axis: number, start: number): void {
  const resolved = resolveAxis("writeSlice", axis, target.rank);
  expectType("writeSlice", "x", x, target.dtype);
  const fits = x.rank === target.rank &&
    x.shape.every((d, i) => (i === resolved ? start >= 0 && start + d <= target.shape[i] : d === target.shape[i]));
  if (!fits) {
    throw new RangeError(
      `writeSlice: ${formatShape(x.shape)} at ${start} does not fit axis ${resolved} of ${formatShape(target.shape)}`,
    );
  }
  const outStrides = stridesOf(target.shape);
  copyRegion(target.device, x, target, {
    shape: x.shape,
    xStrides: stridesOf(x.shape),
    xOffset: 0,
    outStrides,
    outOffset: start * outStrides[resolved],
  });
}
