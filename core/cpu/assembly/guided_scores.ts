// AssemblyScript, which the type checker does not know and the formatter breaks (it drops decorators).
// @ts-nocheck
// deno-fmt-ignore-file
/**
 * Log-probability and rank of one code per row under the guided logits of one sampler or more. One unit is one row: its
 * logits stay in the cache for all samplers. Loops store two vectors each, which engines can join to one of 256 bits.
 */
import { int, lanesSum, loadTail, ptr, storeTail } from "./args.ts";
import { expFlushed4 } from "./math.ts";
import { log64, rowExp, rowMax } from "./softmax.ts";

@inline
function mixed(c: v128, u: v128, factor: v128, share: v128, base: v128, scale: v128): v128 {
  const apart = f32x4.mul(f32x4.sub(c, f32x4.mul(u, share)), factor);
  return f32x4.mul(f32x4.add(apart, f32x4.mul(u, base)), scale);
}

/** Guided logits of a row: ((c - share u) factor + base u) scale. `numbers` has factor, share, base and scale. */
function mixRow(c: usize, u: usize, out: usize, n: i32, numbers: usize): void {
  const factor = v128.load32_splat(numbers), share = v128.load32_splat(numbers + 4);
  const base = v128.load32_splat(numbers + 8), scale = v128.load32_splat(numbers + 12);
  let i = 0;
  for (; i + 8 <= n; i += 8) {
    const first = mixed(v128.load(c), v128.load(u), factor, share, base, scale);
    const second = mixed(v128.load(c, 16), v128.load(u, 16), factor, share, base, scale);
    v128.store(out, first);
    v128.store(out, second, 16);
    c += 32;
    u += 32;
    out += 32;
  }
  for (; i < n; i += 4) {
    const rest = min(4, n - i);
    const value = mixed(loadPart(c, rest), loadPart(u, rest), factor, share, base, scale);
    if (rest == 4) v128.store(out, value);
    else storeTail(out, value, rest);
    c += 16;
    u += 16;
    out += 16;
  }
}

@inline
function loadPart(p: usize, n: i32): v128 {
  return n == 4 ? v128.load(p) : loadTail(p, n);
}

/** How many of n elements are above a value. */
function countAbove(x: usize, n: i32, value: f32): i32 {
  const limit = f32x4.splat(value);
  let counts = i32x4.splat(0);
  let i = 0;
  for (; i + 4 <= n; i += 4) {
    counts = i32x4.sub(counts, f32x4.gt(v128.load(x), limit));
    x += 16;
  }
  let count = i32x4.extract_lane(counts, 0) + i32x4.extract_lane(counts, 1) + i32x4.extract_lane(counts, 2) +
    i32x4.extract_lane(counts, 3);
  for (; i < n; i++) {
    if (load<f32>(x) > value) count++;
    x += 4;
  }
  return count;
}

/** The sum of e^(x - top). `out`, which may be x, is overwritten. */
function sumOfExp(x: usize, n: i32, top: f32, out: usize): f64 {
  const by = f32x4.splat(top);
  let total: f64 = 0;
  let i = 0;
  while (i + 8 <= n) {
    const stop = min(n - 7, i + 512);
    let a = f32x4.splat(0), b = f32x4.splat(0);
    for (; i < stop; i += 8) {
      const first = expFlushed4(f32x4.sub(v128.load(x), by));
      const second = expFlushed4(f32x4.sub(v128.load(x, 16), by));
      v128.store(out, first);
      v128.store(out, second, 16);
      a = f32x4.add(a, first);
      b = f32x4.add(b, second);
      x += 32;
      out += 32;
    }
    total += lanesSum(a) + lanesSum(b);
  }
  return i < n ? total + rowExp(x, n - i, top, 0, false) : total;
}

/**
 * ints: 0 conditional, 1 unconditional, 2 index, 3 place, 4 mixing, 5 scores, 6 guided or 0, 7 n, 8 samplers, 9 places,
 * 10 rows. scratch: n floats.
 */
export function guidedScores(args: usize, begin: i32, end: i32, scratch: usize): void {
  const guided = ptr(args, 6);
  const n = int(args, 7), samplers = int(args, 8), places = int(args, 9), rows = int(args, 10);
  for (let r = begin; r < end; r++) {
    const first = <usize> (r * n) << 2, row = <usize> r << 2;
    const place = max(0, min(places - 1, load<i32>(ptr(args, 3) + row)));
    const index = <usize> max(0, min(n - 1, load<i32>(ptr(args, 2) + row))) << 2;
    for (let s = 0; s < samplers; s++) {
      const x = s == 0 && guided != 0 ? guided + first : scratch;
      mixRow(ptr(args, 0) + first, ptr(args, 1) + first, x, n, ptr(args, 4) + (<usize> (s * places + place) << 4));
      const own = load<f32>(x + index);
      const top = rowMax(x, n);
      const above = countAbove(x, n, own);
      const logProb = <f64> own - <f64> top - log64(sumOfExp(x, n, top, scratch));
      const out = ptr(args, 5) + (<usize> (2 * s * rows + r) << 2);
      store<f32>(out, <f32> logProb);
      store<f32>(out + (<usize> rows << 2), <f32> (above + 1));
    }
  }
}
