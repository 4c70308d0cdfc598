// AssemblyScript, which the type checker does not know and the formatter breaks (it drops decorators).
// @ts-nocheck
// deno-fmt-ignore-file
/**
 * Group norm, layer norm and l2 norm. Means first, then squared deviations from them: no difference of large sums.
 */
import { float, int, lanesSum, loadTail, ptr, storeTail } from "./args.ts";
import { rowAddress } from "./block.ts";
import { silu4 } from "./math.ts";

/** Rows whose f32 partial sums are added up in f64: the error of a sum does not grow with the image. */
const SUB: i32 = 32;

/**
 * First pass of group norm over x[batch, hw, c]: mean and sum of squared deviations of every channel over one block of
 * rows, as f64 pairs out[unit, c]. One unit is one block of one image; a block stays in cache between its two passes.
 * ints: 0 x, 1 out, 2 hw, 3 c, 4 rows per block, 5 blocks.
 */
export function groupNormBlocks(args: usize, begin: i32, end: i32, _scratch: usize): void {
  const hw = int(args, 2), c = int(args, 3), blockRows = int(args, 4), blocks = int(args, 5);
  const stride = <usize> c << 2;
  for (let unit = begin; unit < end; unit++) {
    const r0 = unit % blocks * blockRows;
    const rows = min(blockRows, hw - r0);
    const x = ptr(args, 0) + <usize> (unit / blocks * hw + r0) * stride;
    let to = ptr(args, 1) + (<usize> unit * c << 4);
    let ch = 0;
    for (; ch + 4 <= c; ch += 4) {
      const column = x + (<usize> ch << 2);
      let low = f64x2.splat(0), high = low;
      let p = column;
      for (let r = 0; r < rows; r += SUB) {
        let sum = f32x4.splat(0);
        for (let i = min(SUB, rows - r); i > 0; i--) {
          sum = f32x4.add(sum, v128.load(p));
          p += stride;
        }
        low = f64x2.add(low, f64x2.promote_low_f32x4(sum));
        high = f64x2.add(high, f64x2.promote_low_f32x4(v128.shuffle<f32>(sum, sum, 2, 3, 2, 3)));
      }
      const count = f64x2.splat(<f64> rows);
      const meanLow = f64x2.div(low, count), meanHigh = f64x2.div(high, count);
      // Deviations are from the mean rounded to f32; the difference is corrected below.
      const a = f32x4.demote_f64x2_zero(meanLow), b = f32x4.demote_f64x2_zero(meanHigh);
      const mean = v128.shuffle<f32>(a, b, 0, 1, 4, 5);
      low = f64x2.splat(0);
      high = low;
      p = column;
      for (let r = 0; r < rows; r += SUB) {
        let sum = f32x4.splat(0);
        for (let i = min(SUB, rows - r); i > 0; i--) {
          const d = f32x4.sub(v128.load(p), mean);
          sum = f32x4.add(sum, f32x4.mul(d, d));
          p += stride;
        }
        low = f64x2.add(low, f64x2.promote_low_f32x4(sum));
        high = f64x2.add(high, f64x2.promote_low_f32x4(v128.shuffle<f32>(sum, sum, 2, 3, 2, 3)));
      }
      const restLow = f64x2.sub(meanLow, f64x2.promote_low_f32x4(mean));
      const restHigh = f64x2.sub(meanHigh, f64x2.promote_low_f32x4(v128.shuffle<f32>(mean, mean, 2, 3, 2, 3)));
      low = f64x2.sub(low, f64x2.mul(count, f64x2.mul(restLow, restLow)));
      high = f64x2.sub(high, f64x2.mul(count, f64x2.mul(restHigh, restHigh)));
      v128.store(to, v128.shuffle<f64>(meanLow, low, 0, 2));
      v128.store(to, v128.shuffle<f64>(meanLow, low, 1, 3), 16);
      v128.store(to, v128.shuffle<f64>(meanHigh, high, 0, 2), 32);
      v128.store(to, v128.shuffle<f64>(meanHigh, high, 1, 3), 48);
      to += 64;
    }
    for (; ch < c; ch++) {
      const column = x + (<usize> ch << 2);
      let mean: f64 = 0, squares: f64 = 0;
      for (let r = 0; r < rows; r++) mean += <f64> load<f32>(column + <usize> r * stride);
      mean /= <f64> rows;
      for (let r = 0; r < rows; r++) {
        const d = <f64> load<f32>(column + <usize> r * stride) - mean;
        squares += d * d;
      }
      store<f64>(to, mean);
      store<f64>(to, squares, 8);
      to += 16;
    }
  }
}

/**
 * Joins the blocks' statistics per group (Chan, Golub and LeVeque 1983) into mean[batch, c] and factor[batch, c] =
 * gamma / sqrt(var + eps). One unit is one group of one image. ints: 0 blocks' statistics, 1 out (mean, then factor),
 * 2 gamma or 0 (all ones), 3 hw, 4 c, 5 rows per block, 6 blocks, 7 groups, 8 batch. floats: 0 eps.
 */
export function groupNormJoin(args: usize, begin: i32, end: i32, _scratch: usize): void {
  const hw = int(args, 3), c = int(args, 4), blockRows = int(args, 5), blocks = int(args, 6), groups = int(args, 7);
  const per = c / groups;
  const factors = ptr(args, 1) + (<usize> (int(args, 8) * c) << 2);
  for (let unit = begin; unit < end; unit++) {
    const z = unit / groups;
    const ch0 = unit % groups * per;
    let total: f64 = 0;
    for (let block = 0; block < blocks; block++) {
      const rows = <f64> min(blockRows, hw - block * blockRows);
      const p = ptr(args, 0) + (<usize> ((z * blocks + block) * c + ch0) << 4);
      for (let i = 0; i < per; i++) total += rows * load<f64>(p + (<usize> i << 4));
    }
    const count = <f64> hw * <f64> per;
    const mean = total / count;
    let squares: f64 = 0;
    for (let block = 0; block < blocks; block++) {
      const rows = <f64> min(blockRows, hw - block * blockRows);
      const p = ptr(args, 0) + (<usize> ((z * blocks + block) * c + ch0) << 4);
      for (let i = 0; i < per; i++) {
        const d = load<f64>(p + (<usize> i << 4)) - mean;
        squares += load<f64>(p + (<usize> i << 4), 8) + rows * d * d;
      }
    }
    const scale = 1 / Math.sqrt(squares / count + <f64> float(args, 0));
    for (let i = 0; i < per; i++) {
      const at = <usize> (z * c + ch0 + i) << 2;
      const gamma = ptr(args, 2) ? <f64> load<f32>(ptr(args, 2) + (<usize> (ch0 + i) << 2)) : 1;
      store<f32>(ptr(args, 1) + at, <f32> mean);
      store<f32>(factors + at, <f32> (gamma * scale));
    }
  }
}

@inline
function applyGroupNorm(args: usize, begin: i32, end: i32, silu: bool): void {
  const hw = int(args, 4), c = int(args, 5), blockRows = int(args, 6), blocks = int(args, 7);
  const stride = <usize> c << 2;
  const factors = ptr(args, 2) + (<usize> (int(args, 8) * c) << 2);
  for (let unit = begin; unit < end; unit++) {
    const image = unit / blocks;
    const r0 = unit % blocks * blockRows;
    const rows = min(blockRows, hw - r0);
    const first = <usize> (image * hw + r0) * stride;
    let x = ptr(args, 0) + first, out = ptr(args, 1) + first;
    for (let r = 0; r < rows; r++) {
      let mean = ptr(args, 2) + <usize> image * stride, factor = factors + <usize> image * stride;
      let beta = ptr(args, 3);
      let left = c;
      // Two vectors at a time, which the engine may join into one of twice the width.
      for (; left >= 8; left -= 8) {
        let y = f32x4.mul(f32x4.sub(v128.load(x), v128.load(mean)), v128.load(factor));
        let z = f32x4.mul(f32x4.sub(v128.load(x, 16), v128.load(mean, 16)), v128.load(factor, 16));
        y = f32x4.add(y, v128.load(beta));
        z = f32x4.add(z, v128.load(beta, 16));
        if (silu) {
          y = silu4(y);
          z = silu4(z);
        }
        v128.store(out, y);
        v128.store(out, z, 16);
        x += 32;
        out += 32;
        mean += 32;
        factor += 32;
        beta += 32;
      }
      if (left >= 4) {
        let y = f32x4.mul(f32x4.sub(v128.load(x), v128.load(mean)), v128.load(factor));
        y = f32x4.add(y, v128.load(beta));
        if (silu) y = silu4(y);
        v128.store(out, y);
        x += 16;
        out += 16;
        mean += 16;
        factor += 16;
        beta += 16;
        left -= 4;
      }
      if (left > 0) {
        let y = f32x4.mul(f32x4.sub(loadTail(x, left), loadTail(mean, left)), loadTail(factor, left));
        y = f32x4.add(y, loadTail(beta, left));
        if (silu) y = silu4(y);
        storeTail(out, y, left);
        x += <usize> left << 2;
        out += <usize> left << 2;
      }
    }
  }
}

/**
 * Last pass: out = act((x - mean) * factor + beta). One unit is one block of rows of one image. ints: 0 x, 1 out,
 * 2 mean and factor, 3 beta, 4 hw, 5 c, 6 rows per block, 7 blocks, 8 batch, 9 silu.
 */
export function groupNormApply(args: usize, begin: i32, end: i32, _scratch: usize): void {
  if (int(args, 9)) applyGroupNorm(args, begin, end, true);
  else applyGroupNorm(args, begin, end, false);
}

/** Sum of (x[i] - shift), or of its square, over n floats. */
@inline
export function sumOf(x: usize, n: i32, shift: f32, square: bool): f64 {
  const by = f32x4.splat(shift);
  let a = f32x4.splat(0), b = a;
  let total: f64 = 0;
  let i = 0;
  while (i + 8 <= n) {
    // Partial sums of at most 64 terms per lane are added up in f64.
    const stop = min(n - 7, i + 512);
    for (; i < stop; i += 8) {
      let u = v128.load(x), v = v128.load(x, 16);
      if (square) {
        u = f32x4.sub(u, by);
        v = f32x4.sub(v, by);
        u = f32x4.mul(u, u);
        v = f32x4.mul(v, v);
      }
      a = f32x4.add(a, u);
      b = f32x4.add(b, v);
      x += 32;
    }
    total += lanesSum(a) + lanesSum(b);
    a = f32x4.splat(0);
    b = a;
  }
  for (; i < n; i++) {
    const d = load<f32>(x) - shift;
    total += square ? <f64> d * <f64> d : <f64> d;
    x += 4;
  }
  return total;
}

/**
 * Layer norm of rows. One unit is one row. ints: 0 x, 1 out, 2 n, 3 gamma or 0, 4 beta or 0, 5.. scale table, 10..
 * shift table (data 0 when absent). floats: 0 eps.
 */
export function layerNorm(args: usize, begin: i32, end: i32, _scratch: usize): void {
  const n = int(args, 2);
  const hasScale = ptr(args, 5) != 0, hasShift = ptr(args, 10) != 0;
  for (let r = begin; r < end; r++) {
    const first = <usize> (r * n) << 2;
    const x = ptr(args, 0) + first, out = ptr(args, 1) + first;
    const mean = <f32> (sumOf(x, n, 0, false) / <f64> n);
    const variance = sumOf(x, n, mean, true) / <f64> n;
    const factor = f32x4.splat(<f32> (1 / Math.sqrt(variance + <f64> float(args, 0))));
    const by = f32x4.splat(mean), one = f32x4.splat(1);
    const gamma = ptr(args, 3), beta = ptr(args, 4);
    const scale = hasScale ? rowAddress(args, 5, r) : 0;
    const shift = hasShift ? rowAddress(args, 10, r) : 0;
    let i = 0;
    for (; i + 4 <= n; i += 4) {
      const at = <usize> i << 2;
      let y = f32x4.mul(f32x4.sub(v128.load(x + at), by), factor);
      if (gamma) y = f32x4.mul(y, v128.load(gamma + at));
      if (beta) y = f32x4.add(y, v128.load(beta + at));
      if (scale) y = f32x4.mul(y, f32x4.add(one, v128.load(scale + at)));
      if (shift) y = f32x4.add(y, v128.load(shift + at));
      v128.store(out + at, y);
    }
    if (i < n) {
      const at = <usize> i << 2, left = n - i;
      let y = f32x4.mul(f32x4.sub(loadTail(x + at, left), by), factor);
      if (gamma) y = f32x4.mul(y, loadTail(gamma + at, left));
      if (beta) y = f32x4.add(y, loadTail(beta + at, left));
      if (scale) y = f32x4.mul(y, f32x4.add(one, loadTail(scale + at, left)));
      if (shift) y = f32x4.add(y, loadTail(shift + at, left));
      storeTail(out + at, y, left);
    }
  }
}

/** x / max(|x|, eps) per row. One unit is one row. ints: 0 x, 1 out, 2 n. floats: 0 eps. */
export function l2Normalize(args: usize, begin: i32, end: i32, _scratch: usize): void {
  const n = int(args, 2);
  for (let r = begin; r < end; r++) {
    const first = <usize> (r * n) << 2;
    const x = ptr(args, 0) + first, out = ptr(args, 1) + first;
    const norm = Math.sqrt(sumOf(x, n, 0, true));
    const divisor = f32x4.splat(<f32> max<f64>(norm, <f64> float(args, 0)));
    let i = 0;
    for (; i + 4 <= n; i += 4) {
      const at = <usize> i << 2;
      v128.store(out + at, f32x4.div(v128.load(x + at), divisor));
    }
    if (i < n) {
      const at = <usize> i << 2;
      storeTail(out + at, f32x4.div(loadTail(x + at, n - i), divisor), n - i);
    }
  }
}
