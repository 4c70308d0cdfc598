/**
 * Arithmetic on shapes and strides: sizes, broadcasting, merging of dimensions.
 * Nothing here touches data or devices.
 */

/** Sizes of all axes; [] for a scalar. */
export type Shape = readonly number[];

/** Number of elements. */
export function sizeOf(shape: Shape): number {
  let size = 1;
  for (const d of shape) size *= d;
  return size;
}

/** `[2, 3]`, for messages. */
export function formatShape(shape: Shape): string {
  return `[${shape.join(", ")}]`;
}

/** Whether two shapes are equal. */
export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((d, i) => d === b[i]);
}

/** Row-major strides in elements. */
export function stridesOf(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  let stride = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    strides[i] = stride;
    stride *= shape[i];
  }
  return strides;
}

/** NumPy broadcasting of two shapes. Throws TypeError, naming `op`, when they do not fit. */
export function broadcastShapes(op: string, a: Shape, b: Shape): number[] {
  const rank = Math.max(a.length, b.length);
  const out = new Array<number>(rank);
  for (let i = 1; i <= rank; i++) {
    const da = a[a.length - i] ?? 1;
    const db = b[b.length - i] ?? 1;
    if (da !== db && da !== 1 && db !== 1) {
      throw new TypeError(`${op}: shapes ${formatShape(a)} and ${formatShape(b)} do not broadcast`);
    }
    out[rank - i] = da === 1 ? db : da;
  }
  return out;
}

/** Strides that read a contiguous tensor of shape `from` as if it had shape `to`: 0 where it is repeated. */
export function broadcastStrides(from: Shape, to: Shape): number[] {
  const strides = stridesOf(from);
  const lead = to.length - from.length;
  return to.map((_, i) => (i < lead || from[i - lead] === 1 ? 0 : strides[i - lead]));
}

/**
 * Merges neighbouring axes that are contiguous in every operand, and drops axes of size 1, so that kernels see the
 * smallest rank (at least 1). `strideSets` has one list of strides per operand.
 */
export function collapse(
  shape: Shape,
  strideSets: readonly (readonly number[])[],
): { shape: number[]; strideSets: number[][] } {
  const outShape: number[] = [];
  const outStrides: number[][] = strideSets.map(() => []);
  for (let i = 0; i < shape.length; i++) {
    if (shape[i] === 1) continue;
    const last = outShape.length - 1;
    const merges = last >= 0 &&
      strideSets.every((strides, s) => outStrides[s][last] === strides[i] * shape[i]);
    if (merges) {
      outShape[last] *= shape[i];
      strideSets.forEach((strides, s) => outStrides[s][last] = strides[i]);
    } else {
      outShape.push(shape[i]);
      strideSets.forEach((strides, s) => outStrides[s].push(strides[i]));
    }
  }
  if (outShape.length === 0) {
    outShape.push(1);
    outStrides.forEach((strides) => strides.push(1));
  }
  return { shape: outShape, strideSets: outStrides };
}

/** An axis from 0; negative ones count from the end. Throws RangeError, naming `op`, when it is out of range. */
export function resolveAxis(op: string, axis: number, rank: number): number {
  const resolved = axis < 0 ? axis + rank : axis;
  if (!Number.isInteger(resolved) || resolved < 0 || resolved >= rank) {
    throw new RangeError(`${op}: axis ${axis} is out of range for rank ${rank}`);
  }
  return resolved;
}

/** The three extents [outer, n, inner] around an axis. */
export function aroundAxis(shape: Shape, axis: number): { outer: number; n: number; inner: number } {
  return { outer: sizeOf(shape.slice(0, axis)), n: shape[axis], inner: sizeOf(shape.slice(axis + 1)) };
}
