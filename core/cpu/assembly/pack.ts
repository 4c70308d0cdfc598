// AssemblyScript, which the type checker does not know and the formatter breaks (it drops decorators).
// @ts-nocheck
// deno-fmt-ignore-file
/**
 * Re-laying of B into panels of eight columns, [n / 8][k][8], the last panel filled up with zeros.
 * One unit is one panel of one batch entry.
 */
import { int, loadTail, ptr, storeTail } from "./args.ts";
import { expandHalves, halfToFloat4 } from "./math.ts";

/**
 * Panels of a matrix whose columns are given as rows: x[n, k], k contiguous.
 * ints: 0 x, 1 out, 2 n, 3 k, 4 bytes between rows of x, 5 panels, 6 inner batches, 7 bytes between inner batches of x,
 * 8 bytes between outer batches of x.
 */
export function packRows(args: usize, begin: i32, end: i32, _scratch: usize): void {
  const n = int(args, 2), k = int(args, 3);
  const stride = ptr(args, 4);
  const panels = int(args, 5), inner = int(args, 6);
  for (let unit = begin; unit < end; unit++) {
    const z = unit / panels;
    const j0 = unit % panels * 8;
    const p = ptr(args, 0) + <usize> (z / inner) * ptr(args, 8) + <usize> (z % inner) * ptr(args, 7) +
      <usize> j0 * stride;
    packRowPanel(p, stride, k, min(8, n - j0), ptr(args, 1) + (<usize> unit * k << 5));
  }
}

/** One panel [k, 8] of up to 8 columns that are given as rows `stride` bytes apart. */
export function packRowPanel(p: usize, stride: usize, k: i32, columns: i32, to: usize): void {
  if (columns == 8) {
    let i = 0;
    for (; i + 4 <= k; i += 4) {
      transposeTo(p, stride, to, 32);
      transposeTo(p + 4 * stride, stride, to + 16, 32);
      p += 16;
      to += 128;
    }
    for (; i < k; i++) {
      for (let j = 0; j < 8; j++) store<f32>(to + (<usize> j << 2), load<f32>(p + <usize> j * stride));
      p += 4;
      to += 32;
    }
  } else {
    for (let i = 0; i < k; i++) {
      v128.store(to, f32x4.splat(0));
      v128.store(to, f32x4.splat(0), 16);
      for (let j = 0; j < columns; j++) store<f32>(to + (<usize> j << 2), load<f32>(p + <usize> j * stride));
      p += 4;
      to += 32;
    }
  }
}

/** A 4x4 block of rows `stride` bytes apart, transposed to rows `toStride` bytes apart. */
@inline
export function transposeTo(p: usize, stride: usize, to: usize, toStride: usize): void {
  const a = v128.load(p), b = v128.load(p + stride), c = v128.load(p + 2 * stride), d = v128.load(p + 3 * stride);
  const ab = v128.shuffle<f32>(a, b, 0, 4, 1, 5), cd = v128.shuffle<f32>(c, d, 0, 4, 1, 5);
  const AB = v128.shuffle<f32>(a, b, 2, 6, 3, 7), CD = v128.shuffle<f32>(c, d, 2, 6, 3, 7);
  v128.store(to, v128.shuffle<f32>(ab, cd, 0, 1, 4, 5));
  v128.store(to + toStride, v128.shuffle<f32>(ab, cd, 2, 3, 6, 7));
  v128.store(to + 2 * toStride, v128.shuffle<f32>(AB, CD, 0, 1, 4, 5));
  v128.store(to + 3 * toStride, v128.shuffle<f32>(AB, CD, 2, 3, 6, 7));
}

/** Panels of a matrix given as x[k, n], n contiguous. ints as in packRows. */
export function packColumns(args: usize, begin: i32, end: i32, _scratch: usize): void {
  const n = int(args, 2), k = int(args, 3);
  const stride = ptr(args, 4);
  const panels = int(args, 5), inner = int(args, 6);
  for (let unit = begin; unit < end; unit++) {
    const z = unit / panels;
    const j0 = unit % panels * 8;
    const p = ptr(args, 0) + <usize> (z / inner) * ptr(args, 8) + <usize> (z % inner) * ptr(args, 7) +
      (<usize> j0 << 2);
    const to = ptr(args, 1) + (<usize> unit * k << 5);
    packPanel(p, stride, k, min(8, n - j0), to);
  }
}

/** One panel [k, 8] of up to 8 columns of a matrix whose rows are `stride` bytes apart. */
export function packPanel(p: usize, stride: usize, k: i32, columns: i32, to: usize): void {
  if (columns == 8) {
    for (let i = 0; i < k; i++) {
      v128.store(to, v128.load(p));
      v128.store(to, v128.load(p, 16), 16);
      p += stride;
      to += 32;
    }
    return;
  }
  for (let i = 0; i < k; i++) {
    v128.store(to, f32x4.splat(0));
    v128.store(to, f32x4.splat(0), 16);
    for (let j = 0; j < columns; j++) store<f32>(to + (<usize> j << 2), load<f32>(p + (<usize> j << 2)));
    p += stride;
    to += 32;
  }
}

/** The half nearest to x, ties to even; overflow gives infinity, NaN stays NaN. */
function floatToHalf(x: f32): u32 {
  const bits = reinterpret<u32>(x);
  const sign = bits >> 16 & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude >= 0x477ff000) return sign | 0x7c00;
  // Below 2^-14 the sum with 0.5 lines the half's last bit up with the float's, and the addition rounds.
  if (magnitude < 0x38800000) {
    return sign | reinterpret<u32>(reinterpret<f32>(magnitude) + 0.5) - 0x3f000000;
  }
  return sign | (magnitude - 0x38000000 + 0xfff + (magnitude >> 13 & 1)) >> 13;
}

/**
 * Panels of a weight with k = (tap, channel), x[n, cIn, taps], or, turned, x[cIn, n, taps] with its taps in reverse;
 * taps = 1 for linear weights. ints: 0 x, 1 out, 2 n, 3 cIn, 4 taps, 5 x is halves, 6 out is halves, 7 turned. One unit
 * is one panel.
 */
export function packWeight(args: usize, begin: i32, end: i32, _scratch: usize): void {
  const n = int(args, 2), cIn = int(args, 3), taps = int(args, 4), turned = int(args, 7) != 0;
  const halvesIn = int(args, 5) != 0, halvesOut = int(args, 6) != 0;
  const rowStride = turned ? taps : cIn * taps;
  const channelStride = turned ? n * taps : taps;
  for (let unit = begin; unit < end; unit++) {
    const first = unit << 3;
    const rows = min(8, n - first);
    const x = <usize> (first * rowStride);
    const to = <usize> (unit * cIn * taps) << 3;
    if (rows == 8 && !halvesIn && !halvesOut) {
      packEight(
        ptr(args, 0) + (x << 2), cIn, taps, turned, <usize> rowStride << 2, <usize> channelStride << 2,
        ptr(args, 1) + (to << 2),
      );
      continue;
    }
    if (rows == 8 && halvesIn && halvesOut && taps == 1 && !turned) {
      packEightHalves(ptr(args, 0) + (x << 1), cIn, <usize> rowStride << 1, ptr(args, 1) + (to << 1));
      continue;
    }
    for (let j = 0; j < 8; j++) {
      let out = to + j;
      for (let tap = 0; tap < taps; tap++) {
        let at = x + j * rowStride + (turned ? taps - 1 - tap : tap);
        for (let c = 0; c < cIn; c++) {
          let half: u32 = 0;
          let value: f32 = 0;
          if (j < rows) {
            if (halvesIn) {
              half = load<u16>(ptr(args, 0) + (at << 1));
              if (!halvesOut) value = f32x4.extract_lane(halfToFloat4(i32x4.splat(half)), 0);
            } else {
              value = load<f32>(ptr(args, 0) + (at << 2));
              if (halvesOut) half = floatToHalf(value);
            }
          }
          if (halvesOut) store<u16>(ptr(args, 1) + (out << 1), <u16> half);
          else store<f32>(ptr(args, 1) + (out << 2), value);
          out += 8;
          at += channelStride;
        }
      }
    }
  }
}

/** A whole panel of floats; strides in bytes. */
function packEight(
  x: usize, cIn: i32, taps: i32, turned: bool, rowStride: usize, channelStride: usize, to: usize,
): void {
  for (let tap = 0; tap < taps; tap++) {
    let p = x + (<usize> (turned ? taps - 1 - tap : tap) << 2);
    for (let c = 0; c < cIn; c++) {
      let q = p;
      let low = v128.load32_zero(q);
      q += rowStride;
      low = v128.load32_lane(q, low, 1);
      q += rowStride;
      low = v128.load32_lane(q, low, 2);
      q += rowStride;
      low = v128.load32_lane(q, low, 3);
      q += rowStride;
      let high = v128.load32_zero(q);
      q += rowStride;
      high = v128.load32_lane(q, high, 1);
      q += rowStride;
      high = v128.load32_lane(q, high, 2);
      q += rowStride;
      high = v128.load32_lane(q, high, 3);
      v128.store(to, low);
      v128.store(to, high, 16);
      to += 32;
      p += channelStride;
    }
  }
}

/** A whole panel [k, 8] of halves whose columns are given as rows `stride` bytes apart: 8x8 blocks, transposed. */
function packEightHalves(p: usize, k: i32, stride: usize, to: usize): void {
  let i = 0;
  for (; i + 8 <= k; i += 8) {
    let q = p;
    const a = v128.load(q);
    q += stride;
    const b = v128.load(q);
    q += stride;
    const c = v128.load(q);
    q += stride;
    const d = v128.load(q);
    q += stride;
    const e = v128.load(q);
    q += stride;
    const f = v128.load(q);
    q += stride;
    const g = v128.load(q);
    q += stride;
    const h = v128.load(q);
    // Pairs of 16 bits, then of 32, then of 64: ab0 has a0 b0 a1 b1 .., abcd0 has a0 b0 c0 d0 a1 b1 c1 d1.
    const ab0 = v128.shuffle<u16>(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
    const ab4 = v128.shuffle<u16>(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
    const cd0 = v128.shuffle<u16>(c, d, 0, 8, 1, 9, 2, 10, 3, 11);
    const cd4 = v128.shuffle<u16>(c, d, 4, 12, 5, 13, 6, 14, 7, 15);
    const ef0 = v128.shuffle<u16>(e, f, 0, 8, 1, 9, 2, 10, 3, 11);
    const ef4 = v128.shuffle<u16>(e, f, 4, 12, 5, 13, 6, 14, 7, 15);
    const gh0 = v128.shuffle<u16>(g, h, 0, 8, 1, 9, 2, 10, 3, 11);
    const gh4 = v128.shuffle<u16>(g, h, 4, 12, 5, 13, 6, 14, 7, 15);
    storePairs(ab0, cd0, ef0, gh0, to);
    storePairs(ab4, cd4, ef4, gh4, to + 64);
    p += 16;
    to += 128;
  }
  for (; i < k; i++) {
    for (let j = 0; j < 8; j++) store<u16>(to + (<usize> j << 1), load<u16>(p + <usize> j * stride));
    p += 2;
    to += 16;
  }
}

/** Four rows of the transposed block, from the pairs of 16 bits of all eight columns. */
@inline
function storePairs(ab: v128, cd: v128, ef: v128, gh: v128, to: usize): void {
  const low = v128.shuffle<u32>(ab, cd, 0, 4, 1, 5), high = v128.shuffle<u32>(ef, gh, 0, 4, 1, 5);
  const low2 = v128.shuffle<u32>(ab, cd, 2, 6, 3, 7), high2 = v128.shuffle<u32>(ef, gh, 2, 6, 3, 7);
  v128.store(to, v128.shuffle<u64>(low, high, 0, 2));
  v128.store(to, v128.shuffle<u64>(low, high, 1, 3), 16);
  v128.store(to, v128.shuffle<u64>(low2, high2, 0, 2), 32);
  v128.store(to, v128.shuffle<u64>(low2, high2, 1, 3), 48);
}

/** out[i] = x[i], halves to floats or back. ints: 0 x, 1 out, 2 n, 3 to halves. One unit is 4096 elements. */
export function castHalves(args: usize, begin: i32, end: i32, _scratch: usize): void {
  const n = int(args, 2);
  const first = begin * 4096;
  const count = min(n, end * 4096) - first;
  if (int(args, 3) == 0) {
    expandHalves(ptr(args, 0) + (<usize> first << 1), ptr(args, 1) + (<usize> first << 2), count);
    return;
  }
  let from = ptr(args, 0) + (<usize> first << 2);
  let to = ptr(args, 1) + (<usize> first << 1);
  for (let i = 0; i < count; i++) {
    store<u16>(to, <u16> floatToHalf(load<f32>(from)));
    from += 4;
    to += 2;
  }
}

/**
 * out[z, m, k] = x[z, k, m]. ints: 0 x, 1 out, 2 k, 3 m, 4 bytes between batches of x. One unit is 16 rows of the
 * result.
 */
export function transpose(args: usize, begin: i32, end: i32, _scratch: usize): void {
  const k = int(args, 2), m = int(args, 3);
  const blocks = (m + 15) >> 4;
  const toStride = <usize> k << 2;
  for (let unit = begin; unit < end; unit++) {
    const z = unit / blocks;
    const i0 = unit % blocks << 4;
    const x = ptr(args, 0) + <usize> z * ptr(args, 4) + (<usize> i0 << 2);
    const out = ptr(args, 1) + <usize> (z * m + i0) * toStride;
    transposeBlock(x, <usize> m << 2, k, min(16, m - i0), out, toStride);
  }
}

/** to[m, k] = x[k, m], rows `stride` and `toStride` bytes apart. */
export function transposeBlock(x: usize, stride: usize, k: i32, m: i32, to: usize, toStride: usize): void {
  let l = 0;
  for (; l + 4 <= k; l += 4) {
    const row = x + <usize> l * stride;
    const column = to + (<usize> l << 2);
    let i = 0;
    for (; i + 4 <= m; i += 4) transposeTo(row + (<usize> i << 2), stride, column + <usize> i * toStride, toStride);
    for (; i < m; i++) {
      for (let d = 0; d < 4; d++) {
        const value = load<f32>(row + <usize> d * stride + (<usize> i << 2));
        store<f32>(column + <usize> i * toStride + (<usize> d << 2), value);
      }
    }
  }
  for (; l < k; l++) {
    for (let i = 0; i < m; i++) {
      store<f32>(to + <usize> i * toStride + (<usize> l << 2), load<f32>(x + <usize> l * stride + (<usize> i << 2)));
    }
  }
}

/** out[n] = a word. One unit is 4096 words. ints: 0 out, 1 n, 2 the word. */
export function fill(args: usize, begin: i32, end: i32, _scratch: usize): void {
  const n = int(args, 1), word = int(args, 2);
  const all = i32x4.splat(word);
  let i = begin * 4096;
  const stop = min(n, end * 4096);
  let to = ptr(args, 0) + (<usize> i << 2);
  for (; i + 4 <= stop; i += 4) {
    v128.store(to, all);
    to += 16;
  }
  for (; i < stop; i++) {
    store<i32>(to, word);
    to += 4;
  }
}

/** Ways of `castNumbers`. */
const FLOAT_TO_SIGNED = 0;
const FLOAT_TO_UNSIGNED = 1;
const SIGNED_TO_FLOAT = 2;
const UNSIGNED_TO_FLOAT = 3;

@inline
function castFour(x: v128, way: i32): v128 {
  if (way == FLOAT_TO_SIGNED) return i32x4.trunc_sat_f32x4_s(x);
  if (way == FLOAT_TO_UNSIGNED) return i32x4.trunc_sat_f32x4_u(x);
  if (way == SIGNED_TO_FLOAT) return f32x4.convert_i32x4_s(x);
  if (way == UNSIGNED_TO_FLOAT) return f32x4.convert_i32x4_u(x);
  return x;
}

/** Numbers of four bytes as another type, saturating. One unit is 4096. ints: 0 x, 1 out, 2 n, 3 way (4: bits as they are). */
export function castNumbers(args: usize, begin: i32, end: i32, _scratch: usize): void {
  const n = int(args, 2), way = int(args, 3);
  let left = min(n, end * 4096) - begin * 4096;
  const first = <usize> (begin * 4096) << 2;
  let from = ptr(args, 0) + first, to = ptr(args, 1) + first;
  for (; left >= 4; left -= 4) {
    v128.store(to, castFour(v128.load(from), way));
    from += 16;
    to += 16;
  }
  if (left > 0) storeTail(to, castFour(loadTail(from, left), way), left);
}
