// AssemblyScript, which the type checker does not know and the formatter breaks (it drops decorators).
// @ts-nocheck
// deno-fmt-ignore-file
/**
 * Arguments of kernels: 64 integers, then 16 floats, at address `args`. Every exported kernel is
 * `kernel(args, begin, end, scratch)`: it does units begin..end-1, with private memory at `scratch`.
 */

@inline
export function int(args: usize, i: i32): i32 {
  return load<i32>(args + (<usize> i << 2));
}

@inline
export function ptr(args: usize, i: i32): usize {
  return load<u32>(args + (<usize> i << 2));
}

@inline
export function float(args: usize, i: i32): f32 {
  return load<f32>(args + 256 + (<usize> i << 2));
}

/** The first `n` (1 to 3) of four floats, the others 0. */
export function loadTail(p: usize, n: i32): v128 {
  let v = v128.load32_zero(p);
  if (n > 1) v = v128.load32_lane(p + 4, v, 1);
  if (n > 2) v = v128.load32_lane(p + 8, v, 2);
  return v;
}

/** Stores the first `n` (1 to 3) of four floats. */
export function storeTail(p: usize, v: v128, n: i32): void {
  v128.store32_lane(p, v, 0);
  if (n > 1) v128.store32_lane(p + 4, v, 1);
  if (n > 2) v128.store32_lane(p + 8, v, 2);
}

/** Sum of four floats, in float64. */
@inline
export function lanesSum(v: v128): f64 {
  return (<f64> f32x4.extract_lane(v, 0) + <f64> f32x4.extract_lane(v, 1)) +
    (<f64> f32x4.extract_lane(v, 2) + <f64> f32x4.extract_lane(v, 3));
}

@inline
export function lanesMax(v: v128): f32 {
  return max<f32>(
    max<f32>(f32x4.extract_lane(v, 0), f32x4.extract_lane(v, 1)),
    max<f32>(f32x4.extract_lane(v, 2), f32x4.extract_lane(v, 3)),
  );
}
