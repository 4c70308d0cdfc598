// AssemblyScript, which the type checker does not know and the formatter breaks (it drops decorators).
// @ts-nocheck
// deno-fmt-ignore-file
/**
 * Sums, extremes and their positions along one axis, and average pooling. Sums are kept in f64; where a row is long it
 * is cut into blocks of fixed size, so that results do not depend on threads.
 */
import { int, lanesMax, ptr } from "./args.ts";

const SUM = 0;
const MAX = 2;

/** Elements per block of a long row. */
const BLOCK: i32 = 16384;

/**
 * One f64 per block of each row x[rows, n]. One unit is one block. ints: 0 x, 1 out, 2 n, 3 op (0 sum, 2 max, 3 min),
 * 4 blocks per row.
 */
export function reduceRows(args: usize, begin: i32, end: i32, _scratch: usize): void {
  const n = int(args, 2), op = int(args, 3), blocks = int(args, 4);
  for (let unit = begin; unit < end; unit++) {
    const i0 = unit % blocks * BLOCK;
    const count = min(BLOCK, n - i0);
    let p = ptr(args, 0) + (<usize> (unit / blocks * n + i0) << 2);
    let result: f64;
    let i = 0;
    if (op == SUM) {
      let a = f64x2.splat(0), b = a;
      for (; i + 4 <= count; i += 4) {
        const v = v128.load(p);
        a = f64x2.add(a, f64x2.promote_low_f32x4(v));
        b = f64x2.add(b, f64x2.promote_low_f32x4(v128.shuffle<f32>(v, v, 2, 3, 2, 3)));
        p += 16;
      }
      a = f64x2.add(a, b);
      result = f64x2.extract_lane(a, 0) + f64x2.extract_lane(a, 1);
      for (; i < count; i++) {
        result += <f64> load<f32>(p);
        p += 4;
      }
    } else {
      // The least is minus the largest of the negated.
      const flip = op == MAX ? f32x4.splat(0) : f32x4.splat(-0.0);
      const sign: f32 = op == MAX ? 1 : -1;
      let top = f32x4.splat(-Infinity);
      for (; i + 4 <= count; i += 4) {
        top = f32x4.max(top, v128.xor(v128.load(p), flip));
        p += 16;
      }
      let best = lanesMax(top);
      for (; i < count; i++) {
        best = max<f32>(best, sign * load<f32>(p));
        p += 4;
      }
      result = <f64> (sign * best);
    }
    store<f64>(ptr(args, 1) + (<usize> unit << 3), result);
  }
}

/**
 * out[r] from the blocks of each row that reduceRows left, in their order; of a mean, divided by n. One unit is 64 rows.
 * ints: 0 blocks, 1 out, 2 rows, 3 blocks per row, 4 op (0 sum, 1 mean, 2 max, 3 min), 5 n.
 */
export function joinBlocks(args: usize, begin: i32, end: i32, _scratch: usize): void {
  const blocks = int(args, 3), op = int(args, 4);
  const last = min(int(args, 2), end * 64);
  for (let r = begin * 64; r < last; r++) {
    let p = ptr(args, 0) + (<usize> (r * blocks) << 3);
    let value = load<f64>(p);
    for (let i = 1; i < blocks; i++) {
      p += 8;
      const other = load<f64>(p);
      if (op == MAX) value = max<f64>(value, other);
      else if (op > MAX) value = min<f64>(value, other);
      else value += other;
    }
    store<f32>(ptr(args, 1) + (<usize> r << 2), <f32> (op == 1 ? value / <f64> int(args, 5) : value));
  }
}

/**
 * out[outer, inner] = op over n of x[outer, n, inner]; one unit is 16 columns of one outer index.
 * ints: 0 x, 1 out, 2 n, 3 op (0 sum, 1 mean, 2 max, 3 min), 4 inner, 5 strips of columns.
 */
export function reduceColumns(args: usize, begin: i32, end: i32, _scratch: usize): void {
  const n = int(args, 2), op = int(args, 3), inner = int(args, 4), strips = int(args, 5);
  const stride = <usize> inner << 2;
  const scale: f64 = op == 1 ? 1 / <f64> n : 1;
  for (let unit = begin; unit < end; unit++) {
    const j0 = unit % strips << 4;
    const count = min(16, inner - j0);
    const x = ptr(args, 0) + <usize> (unit / strips * n) * stride + (<usize> j0 << 2);
    const out = ptr(args, 1) + <usize> (unit / strips) * stride + (<usize> j0 << 2);
    if (op >= MAX) {
      const flip = op == MAX ? f32x4.splat(0) : f32x4.splat(-0.0);
      const sign: f32 = op == MAX ? 1 : -1;
      let j = 0;
      for (; j + 4 <= count; j += 4) {
        let top = f32x4.splat(-Infinity);
        let p = x + (<usize> j << 2);
        for (let i = 0; i < n; i++) {
          top = f32x4.max(top, v128.xor(v128.load(p), flip));
          p += stride;
        }
        v128.store(out + (<usize> j << 2), v128.xor(top, flip));
      }
      for (; j < count; j++) {
        let best: f32 = -Infinity;
        let p = x + (<usize> j << 2);
        for (let i = 0; i < n; i++) {
          best = max<f32>(best, sign * load<f32>(p));
          p += stride;
        }
        store<f32>(out + (<usize> j << 2), sign * best);
      }
    } else if (count == 16) {
      let s0 = f64x2.splat(0), s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0, s7 = s0;
      let p = x;
      for (let i = 0; i < n; i++) {
        s0 = f64x2.add(s0, f64x2.promote_low_f32x4(v128.load64_zero(p)));
        s1 = f64x2.add(s1, f64x2.promote_low_f32x4(v128.load64_zero(p, 8)));
        s2 = f64x2.add(s2, f64x2.promote_low_f32x4(v128.load64_zero(p, 16)));
        s3 = f64x2.add(s3, f64x2.promote_low_f32x4(v128.load64_zero(p, 24)));
        s4 = f64x2.add(s4, f64x2.promote_low_f32x4(v128.load64_zero(p, 32)));
        s5 = f64x2.add(s5, f64x2.promote_low_f32x4(v128.load64_zero(p, 40)));
        s6 = f64x2.add(s6, f64x2.promote_low_f32x4(v128.load64_zero(p, 48)));
        s7 = f64x2.add(s7, f64x2.promote_low_f32x4(v128.load64_zero(p, 56)));
        p += stride;
      }
      const by = f64x2.splat(scale);
      v128.store64_lane(out, f32x4.demote_f64x2_zero(f64x2.mul(s0, by)), 0);
      v128.store64_lane(out + 8, f32x4.demote_f64x2_zero(f64x2.mul(s1, by)), 0);
      v128.store64_lane(out + 16, f32x4.demote_f64x2_zero(f64x2.mul(s2, by)), 0);
      v128.store64_lane(out + 24, f32x4.demote_f64x2_zero(f64x2.mul(s3, by)), 0);
      v128.store64_lane(out + 32, f32x4.demote_f64x2_zero(f64x2.mul(s4, by)), 0);
      v128.store64_lane(out + 40, f32x4.demote_f64x2_zero(f64x2.mul(s5, by)), 0);
      v128.store64_lane(out + 48, f32x4.demote_f64x2_zero(f64x2.mul(s6, by)), 0);
      v128.store64_lane(out + 56, f32x4.demote_f64x2_zero(f64x2.mul(s7, by)), 0);
    } else {
      for (let j = 0; j < count; j++) {
        let sum: f64 = 0;
        let p = x + (<usize> j << 2);
        for (let i = 0; i < n; i++) {
          sum += <f64> load<f32>(p);
          p += stride;
        }
        store<f32>(out + (<usize> j << 2), <f32> (sum * scale));
      }
    }
  }
}

/**
 * First position of the extreme of x[outer, n, inner] along n; one unit is one (outer, inner). ints: 0 x, 1 out, 2 n,
 * 3 inner, 4 least instead of largest.
 */
export function argReduce(args: usize, begin: i32, end: i32, _scratch: usize): void {
  const n = int(args, 2), inner = int(args, 3);
  const least = int(args, 4) != 0;
  const flip = least ? f32x4.splat(-0.0) : f32x4.splat(0);
  const sign: f32 = least ? -1 : 1;
  for (let unit = begin; unit < end; unit++) {
    let best: f32 = -Infinity;
    let index = 0;
    let i = 0;
    if (inner == 1) {
      let p = ptr(args, 0) + (<usize> (unit * n) << 2);
      let top = f32x4.splat(-Infinity), where = i32x4.splat(0), at = i32x4(0, 1, 2, 3);
      for (; i + 4 <= n; i += 4) {
        const v = v128.xor(v128.load(p), flip);
        const more = f32x4.gt(v, top);
        top = v128.bitselect(v, top, more);
        where = v128.bitselect(at, where, more);
        at = i32x4.add(at, i32x4.splat(4));
        p += 16;
      }
      best = lanesMax(top);
      index = 0x7fffffff;
      if (f32x4.extract_lane(top, 0) == best) index = min(index, i32x4.extract_lane(where, 0));
      if (f32x4.extract_lane(top, 1) == best) index = min(index, i32x4.extract_lane(where, 1));
      if (f32x4.extract_lane(top, 2) == best) index = min(index, i32x4.extract_lane(where, 2));
      if (f32x4.extract_lane(top, 3) == best) index = min(index, i32x4.extract_lane(where, 3));
      for (; i < n; i++) {
        const v = sign * load<f32>(p);
        if (v > best) {
          best = v;
          index = i;
        }
        p += 4;
      }
    } else {
      const stride = <usize> inner << 2;
      let p = ptr(args, 0) + <usize> (unit / inner * n) * stride + (<usize> (unit % inner) << 2);
      for (; i < n; i++) {
        const v = sign * load<f32>(p);
        if (v > best) {
          best = v;
          index = i;
        }
        p += stride;
      }
    }
    store<i32>(ptr(args, 1) + (<usize> unit << 2), index);
  }
}

/** Means of k x k blocks, NHWC; one unit is one output row of one image. ints: 0 x, 1 out, 2 h, 3 w, 4 c, 5 k. */
export function avgPool2d(args: usize, begin: i32, end: i32, _scratch: usize): void {
  const h = int(args, 2), w = int(args, 3), c = int(args, 4), k = int(args, 5);
  const outH = h / k, outW = w / k;
  const rowBytes = <usize> (w * c) << 2;
  const count: f32 = <f32> (k * k);
  for (let unit = begin; unit < end; unit++) {
    const z = unit / outH;
    const x = ptr(args, 0) + <usize> (z * h + unit % outH * k) * rowBytes;
    let out = ptr(args, 1) + (<usize> (unit * outW * c) << 2);
    for (let ox = 0; ox < outW; ox++) {
      const block = x + (<usize> (ox * k * c) << 2);
      let ch = 0;
      for (; ch + 4 <= c; ch += 4) {
        let sum = f32x4.splat(0);
        for (let dy = 0; dy < k; dy++) {
          let p = block + <usize> dy * rowBytes + (<usize> ch << 2);
          for (let dx = 0; dx < k; dx++) {
            sum = f32x4.add(sum, v128.load(p));
            p += <usize> c << 2;
          }
        }
        v128.store(out, f32x4.div(sum, f32x4.splat(count)));
        out += 16;
      }
      for (; ch < c; ch++) {
        let sum: f32 = 0;
        for (let dy = 0; dy < k; dy++) {
          let p = block + <usize> dy * rowBytes + (<usize> ch << 2);
          for (let dx = 0; dx < k; dx++) {
            sum += load<f32>(p);
            p += <usize> c << 2;
          }
        }
        store<f32>(out, sum / count);
        out += 4;
      }
    }
  }
}
