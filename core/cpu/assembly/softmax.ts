// AssemblyScript, which the type checker does not know and the formatter breaks (it drops decorators).
// @ts-nocheck
// deno-fmt-ignore-file
/**
 * Softmax and log-softmax of rows, and the log-softmax of one element per row. One unit is one row.
 */
import { int, lanesMax, lanesSum, loadTail, ptr, storeTail } from "./args.ts";
import { expFlushed4 } from "./math.ts";

/** Natural logarithm of x > 0 in f64, by the series of atanh; the standard library's needs tables in memory. */
export function log64(x: f64): f64 {
  let bits = reinterpret<u64>(x);
  let exponent = <i32> (bits >> 52 & 0x7ff);
  if (exponent == 0x7ff || x <= 0) return x <= 0 ? -Infinity : x;
  exponent -= 1023;
  let m = reinterpret<f64>(bits & 0xfffffffffffff | 0x3ff0000000000000);
  if (m > 1.4142135623730951) {
    m *= 0.5;
    exponent++;
  }
  const s = (m - 1) / (m + 1);
  const t = s * s;
  let sum: f64 = 0;
  for (let i = 21; i >= 1; i -= 2) sum = sum * t + 1 / <f64> i;
  return 2 * s * sum + <f64> exponent * 0.6931471805599453;
}

export function rowMax(x: usize, n: i32): f32 {
  let top = f32x4.splat(-Infinity);
  let i = 0;
  for (; i + 4 <= n; i += 4) {
    top = f32x4.pmax(top, v128.load(x));
    x += 16;
  }
  let best = lanesMax(top);
  for (; i < n; i++) {
    best = max<f32>(best, load<f32>(x));
    x += 4;
  }
  return best;
}

/** The sum of e^(x - top); the terms are stored to `out` unless it is 0. */
@inline
export function rowExp(x: usize, n: i32, top: f32, out: usize, keep: bool): f64 {
  const by = f32x4.splat(top);
  let total: f64 = 0;
  let sum = f32x4.splat(0);
  let i = 0;
  while (i + 4 <= n) {
    const stop = min(n - 3, i + 512);
    for (; i < stop; i += 4) {
      const e = expFlushed4(f32x4.sub(v128.load(x), by));
      if (keep) {
        v128.store(out, e);
        out += 16;
      }
      sum = f32x4.add(sum, e);
      x += 16;
    }
    total += lanesSum(sum);
    sum = f32x4.splat(0);
  }
  if (i < n) {
    const e = expFlushed4(f32x4.sub(loadTail(x, n - i), by));
    if (keep) storeTail(out, e, n - i);
    for (let lane = 0; lane < n - i; lane++) {
      total +=
        <f64> (lane == 0 ? f32x4.extract_lane(e, 0) : lane == 1 ? f32x4.extract_lane(e, 1) : f32x4.extract_lane(e, 2));
    }
  }
  return total;
}

/** Softmax of x[rows, n], or log-softmax where `log` is not 0. ints: 0 x, 1 out, 2 n, 3 log. */
export function softmax(args: usize, begin: i32, end: i32, _scratch: usize): void {
  const n = int(args, 2);
  const log = int(args, 3) != 0;
  for (let r = begin; r < end; r++) {
    const first = <usize> (r * n) << 2;
    const x = ptr(args, 0) + first, out = ptr(args, 1) + first;
    const top = rowMax(x, n);
    let i = 0;
    if (log) {
      const rest = f32x4.splat(<f32> log64(rowExp(x, n, top, 0, false)));
      const by = f32x4.splat(top);
      for (; i + 4 <= n; i += 4) {
        const at = <usize> i << 2;
        v128.store(out + at, f32x4.sub(f32x4.sub(v128.load(x + at), by), rest));
      }
      if (i < n) {
        const at = <usize> i << 2;
        storeTail(out + at, f32x4.sub(f32x4.sub(loadTail(x + at, n - i), by), rest), n - i);
      }
    } else {
      const factor = f32x4.splat(<f32> (1 / rowExp(x, n, top, out, true)));
      for (; i + 4 <= n; i += 4) {
        const at = <usize> i << 2;
        v128.store(out + at, f32x4.mul(v128.load(out + at), factor));
      }
      if (i < n) {
        const at = <usize> i << 2;
        storeTail(out + at, f32x4.mul(loadTail(out + at, n - i), factor), n - i);
      }
    }
  }
}

/** out[r] = logSoftmax(x[r, :])[index[r]]. ints: 0 x, 1 index, 2 out, 3 n. */
export function logSoftmaxGather(args: usize, begin: i32, end: i32, _scratch: usize): void {
  const n = int(args, 3);
  for (let r = begin; r < end; r++) {
    const x = ptr(args, 0) + (<usize> (r * n) << 2);
    const top = rowMax(x, n);
    const sum = rowExp(x, n, top, 0, false);
    const index = max(0, min(n - 1, load<i32>(ptr(args, 1) + (<usize> r << 2))));
    const value = <f64> load<f32>(x + (<usize> index << 2)) - <f64> top - log64(sum);
    store<f32>(ptr(args, 2) + (<usize> r << 2), <f32> value);
  }
}
