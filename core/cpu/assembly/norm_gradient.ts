// AssemblyScript, which the type checker does not know and the formatter breaks (it drops decorators).
// @ts-nocheck
// deno-fmt-ignore-file
/**
 * Gradients of group norm and layer norm. The statistics of group norm come from norm.ts.
 *
 * With y = (x - mean) / deviation and u the gradient of y, that of x is (u - mean(u) - y mean(u y)) / deviation.
 */
import { float, int, lanesSum, loadTail, ptr, storeTail } from "./args.ts";
import { rowAddress } from "./block.ts";
import { siluGradient4 } from "./math.ts";
import { sumOf } from "./norm.ts";

/** Rows whose f32 partial sums are added up in f64: the error of a sum does not grow with the image. */
const SUB: i32 = 32;

/** Adds `n` floats (a multiple of 4) to as many f64 and clears them. */
function flush(sums: usize, n: i32, to: usize): void {
  for (let i = 0; i < n; i += 4) {
    const v = v128.load(sums);
    v128.store(to, f64x2.add(v128.load(to), f64x2.promote_low_f32x4(v)));
    const high = f64x2.promote_low_f32x4(v128.shuffle<f32>(v, v, 2, 3, 2, 3));
    v128.store(to, f64x2.add(v128.load(to, 16), high), 16);
    v128.store(sums, f32x4.splat(0));
    sums += 16;
    to += 32;
  }
}

@inline
function groupSums(args: usize, begin: i32, end: i32, scratch: usize, silu: bool): void {
  const hw = int(args, 7), c = int(args, 8), blockRows = int(args, 9), blocks = int(args, 10);
  const stride = <usize> c << 2;
  const padded = c + 3 & ~3;
  const gamma = ptr(args, 5), beta = ptr(args, 6);
  const keep = ptr(args, 2) != 0;
  const plane = <usize> padded << 2;
  memory.fill(scratch, 0, 2 * plane);
  for (let unit = begin; unit < end; unit++) {
    const z = unit / blocks;
    const r0 = unit % blocks * blockRows;
    const rows = min(blockRows, hw - r0);
    const first = <usize> (z * hw + r0) * stride;
    let x = ptr(args, 0) + first, g = ptr(args, 1) + first, dz = ptr(args, 2) + first;
    const means = ptr(args, 4) + <usize> z * stride;
    const rstds = means + <usize> int(args, 11) * stride;
    const to = ptr(args, 3) + (<usize> (unit * padded) << 4);
    memory.fill(to, 0, <usize> padded << 4);
    for (let r = 0; r < rows; r++) {
      let at: usize = 0;
      let left = c;
      for (; left >= 4; left -= 4) {
        const y = f32x4.mul(f32x4.sub(v128.load(x), v128.load(means + at)), v128.load(rstds + at));
        let u = v128.load(g);
        if (silu) {
          const before = f32x4.add(f32x4.mul(y, v128.load(gamma + at)), v128.load(beta + at));
          u = f32x4.mul(u, siluGradient4(before));
          if (keep) v128.store(dz, u);
        }
        const sums = scratch + at;
        v128.store(sums, f32x4.add(v128.load(sums), u));
        v128.store(sums + plane, f32x4.add(v128.load(sums + plane), f32x4.mul(u, y)));
        x += 16;
        g += 16;
        dz += 16;
        at += 16;
      }
      if (left > 0) {
        const y = f32x4.mul(f32x4.sub(loadTail(x, left), loadTail(means + at, left)), loadTail(rstds + at, left));
        let u = loadTail(g, left);
        if (silu) {
          const before = f32x4.add(f32x4.mul(y, loadTail(gamma + at, left)), loadTail(beta + at, left));
          u = f32x4.mul(u, siluGradient4(before));
          if (keep) storeTail(dz, u, left);
        }
        const sums = scratch + at;
        v128.store(sums, f32x4.add(v128.load(sums), u));
        v128.store(sums + plane, f32x4.add(v128.load(sums + plane), f32x4.mul(u, y)));
        x += <usize> left << 2;
        g += <usize> left << 2;
        dz += <usize> left << 2;
      }
      if ((r + 1) % SUB == 0) flush(scratch, 2 * padded, to);
    }
    flush(scratch, 2 * padded, to);
  }
}

/**
 * Sums over one block of rows of dz and of dz * y for every channel, dz being the gradient before the activation, as
 * f64 [unit, 2, c rounded up to 4]. One unit is one block of one image. dz is stored where it differs from the
 * upstream. ints: 0 x, 1 upstream, 2 dz or 0, 3 sums, 4 mean and 1 / deviation, 5 gamma, 6 beta, 7 hw, 8 c, 9 rows per
 * block, 10 blocks, 11 batch, 12 silu. scratch: f32 [2, c rounded up to 4].
 */
export function groupNormGradientSums(args: usize, begin: i32, end: i32, scratch: usize): void {
  if (int(args, 12)) groupSums(args, begin, end, scratch, true);
  else groupSums(args, begin, end, scratch, false);
}

/**
 * Joins the blocks' sums: the f64 totals [batch, 2, padded c], and per channel the three factors of
 * dx = a dz - b - d (x - mean), as f32 [3, batch, c]. One unit is one group of one image.
 * ints: 0 sums, 1 totals, 2 factors, 3 1 / deviation, 4 gamma, 5 hw, 6 c, 7 blocks, 8 groups, 9 batch.
 */
export function groupNormGradientJoin(args: usize, begin: i32, end: i32, _scratch: usize): void {
  const hw = int(args, 5), c = int(args, 6), blocks = int(args, 7), groups = int(args, 8);
  const padded = c + 3 & ~3;
  const per = c / groups;
  const plane = <usize> (int(args, 9) * c) << 2;
  const second = <usize> padded << 3;
  for (let unit = begin; unit < end; unit++) {
    const z = unit / groups;
    const ch0 = unit % groups * per;
    let m1: f64 = 0, m2: f64 = 0;
    for (let ch = ch0; ch < ch0 + per; ch++) {
      let s1: f64 = 0, s2: f64 = 0;
      let p = ptr(args, 0) + (<usize> (z * blocks) * padded << 4) + (<usize> ch << 3);
      for (let block = 0; block < blocks; block++) {
        s1 += load<f64>(p);
        s2 += load<f64>(p + second);
        p += <usize> padded << 4;
      }
      const total = ptr(args, 1) + (<usize> (z * padded) << 4) + (<usize> ch << 3);
      store<f64>(total, s1);
      store<f64>(total + second, s2);
      const gamma = <f64> load<f32>(ptr(args, 4) + (<usize> ch << 2));
      m1 += gamma * s1;
      m2 += gamma * s2;
    }
    const count = <f64> hw * <f64> per;
    m1 /= count;
    m2 /= count;
    for (let ch = ch0; ch < ch0 + per; ch++) {
      const at = <usize> (z * c + ch) << 2;
      const rstd = <f64> load<f32>(ptr(args, 3) + at);
      const to = ptr(args, 2) + at;
      store<f32>(to, <f32> (<f64> load<f32>(ptr(args, 4) + (<usize> ch << 2)) * rstd));
      store<f32>(to + plane, <f32> (m1 * rstd));
      store<f32>(to + 2 * plane, <f32> (m2 * rstd * rstd));
    }
  }
}

/**
 * dx = a dz - b - d (x - mean). One unit is one block of rows of one image; dz may be dx itself.
 * ints: 0 x, 1 dz, 2 dx, 3 mean, 4 factors, 5 hw, 6 c, 7 rows per block, 8 blocks, 9 batch.
 */
export function groupNormGradientApply(args: usize, begin: i32, end: i32, _scratch: usize): void {
  const hw = int(args, 5), c = int(args, 6), blockRows = int(args, 7), blocks = int(args, 8);
  const stride = <usize> c << 2;
  const plane = <usize> int(args, 9) * stride;
  for (let unit = begin; unit < end; unit++) {
    const z = unit / blocks;
    const r0 = unit % blocks * blockRows;
    const rows = min(blockRows, hw - r0);
    const first = <usize> (z * hw + r0) * stride;
    let x = ptr(args, 0) + first, dz = ptr(args, 1) + first, dx = ptr(args, 2) + first;
    const means = ptr(args, 3) + <usize> z * stride;
    const a = ptr(args, 4) + <usize> z * stride;
    const b = a + plane;
    const d = b + plane;
    for (let r = 0; r < rows; r++) {
      let at: usize = 0;
      let left = c;
      for (; left >= 4; left -= 4) {
        const centred = f32x4.sub(v128.load(x), v128.load(means + at));
        const shifted = f32x4.sub(f32x4.mul(v128.load(dz), v128.load(a + at)), v128.load(b + at));
        v128.store(dx, f32x4.sub(shifted, f32x4.mul(centred, v128.load(d + at))));
        x += 16;
        dz += 16;
        dx += 16;
        at += 16;
      }
      if (left > 0) {
        const centred = f32x4.sub(loadTail(x, left), loadTail(means + at, left));
        const shifted = f32x4.sub(f32x4.mul(loadTail(dz, left), loadTail(a + at, left)), loadTail(b + at, left));
        storeTail(dx, f32x4.sub(shifted, f32x4.mul(centred, loadTail(d + at, left))), left);
        x += <usize> left << 2;
        dz += <usize> left << 2;
        dx += <usize> left << 2;
      }
    }
  }
}

@inline
function get(p: usize, left: i32): v128 {
  return left >= 4 ? v128.load(p) : loadTail(p, left);
}

@inline
function put(p: usize, v: v128, left: i32): void {
  if (left >= 4) v128.store(p, v);
  else storeTail(p, v, left);
}

/**
 * Layer norm's gradients. One unit is a block of rows, whose sums over rows of dNormed * y and of dNormed (the
 * gradients of gamma and beta) go to [unit, 2, n]. ints: 0 x, 1 upstream, 2 dx or 0, 3 rows * n products upstream *
 * (gamma y + beta) or 0, 4 sums or 0, 5 rows, 6 n, 7 rows per block, 8 gamma or 0, 9 beta or 0, 10.. scale table (data
 * 0 when absent). floats: 0 eps. scratch: f32 [n rounded up to 4], twice.
 */
export function layerNormGradient(args: usize, begin: i32, end: i32, scratch: usize): void {
  const rows = int(args, 5), n = int(args, 6), blockRows = int(args, 7);
  const gamma = ptr(args, 8), beta = ptr(args, 9);
  const hasScale = ptr(args, 10) != 0, hasSums = ptr(args, 4) != 0;
  const one = f32x4.splat(1);
  const us = scratch;
  const bytes = <usize> n << 2;
  const ys = scratch + (bytes + 15 & ~15);
  for (let unit = begin; unit < end; unit++) {
    const last = min((unit + 1) * blockRows, rows);
    const sums = hasSums ? ptr(args, 4) + <usize> (2 * unit) * bytes : 0;
    if (hasSums) memory.fill(sums, 0, 2 * bytes);
    for (let r = unit * blockRows; r < last; r++) {
      const first = <usize> r * bytes;
      const x = ptr(args, 0) + first, g = ptr(args, 1) + first;
      const products = ptr(args, 3) ? ptr(args, 3) + first : 0;
      const mean = <f32> (sumOf(x, n, 0, false) / <f64> n);
      const variance = sumOf(x, n, mean, true) / <f64> n;
      const rstd = f32x4.splat(<f32> (1 / Math.sqrt(variance + <f64> float(args, 0))));
      const by = f32x4.splat(mean);
      const scale = hasScale ? rowAddress(args, 10, r) : 0;
      let m1 = f32x4.splat(0), m2 = m1;
      let total1: f64 = 0, total2: f64 = 0;
      for (let i = 0; i < n; i += 4) {
        const at = <usize> i << 2, left = n - i;
        const y = f32x4.mul(f32x4.sub(get(x + at, left), by), rstd);
        let u = get(g + at, left);
        if (products) {
          let affined = y;
          if (gamma) affined = f32x4.mul(affined, get(gamma + at, left));
          if (beta) affined = f32x4.add(affined, get(beta + at, left));
          put(products + at, f32x4.mul(u, affined), left);
        }
        if (scale) u = f32x4.mul(u, f32x4.add(one, get(scale + at, left)));
        if (sums) {
          put(sums + at, f32x4.add(get(sums + at, left), f32x4.mul(u, y)), left);
          put(sums + bytes + at, f32x4.add(get(sums + bytes + at, left), u), left);
        }
        if (gamma) u = f32x4.mul(u, get(gamma + at, left));
        v128.store(us + at, u);
        v128.store(ys + at, y);
        m1 = f32x4.add(m1, u);
        m2 = f32x4.add(m2, f32x4.mul(u, y));
        // Partial sums of at most 64 terms per lane are added up in f64.
        if ((i & 255) == 252) {
          total1 += lanesSum(m1);
          total2 += lanesSum(m2);
          m1 = f32x4.splat(0);
          m2 = m1;
        }
      }
      if (ptr(args, 2) == 0) continue;
      const dx = ptr(args, 2) + first;
      m1 = f32x4.splat(<f32> ((total1 + lanesSum(m1)) / <f64> n));
      m2 = f32x4.splat(<f32> ((total2 + lanesSum(m2)) / <f64> n));
      for (let i = 0; i < n; i += 4) {
        const at = <usize> i << 2;
        const inner = f32x4.sub(f32x4.sub(v128.load(us + at), m1), f32x4.mul(v128.load(ys + at), m2));
        put(dx + at, f32x4.mul(inner, rstd), n - i);
      }
    }
  }
}
