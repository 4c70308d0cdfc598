// AssemblyScript, which the type checker does not know and the formatter breaks (it drops decorators).
// @ts-nocheck
// deno-fmt-ignore-file
/**
 * Attention with packed keys and values. One unit is a block of queries of one head of one batch entry: scores of the
 * keys that the block sees go to scratch, become probabilities there, and are multiplied with the values.
 */
import { float, int, lanesMax, lanesSum, ptr } from "./args.ts";
import { block, flushStrip } from "./block.ts";
import { expFlushed4 } from "./math.ts";

const K_BLOCK: i32 = 768;

/**
 * e^(scale * (s - max)) in place over the first `seen` of a row of scores, zeros up to `width` (a multiple of 4);
 * returns 1 / sum.
 */
export function probabilities(row: usize, seen: i32, width: i32, scale: f32): f32 {
  const factor = f32x4.splat(scale);
  let top = f32x4.splat(-Infinity);
  let j = 0;
  for (; j + 4 <= seen; j += 4) {
    const p = row + (<usize> j << 2);
    const v = f32x4.mul(v128.load(p), factor);
    v128.store(p, v);
    top = f32x4.pmax(top, v);
  }
  // The last, incomplete group: its other lanes hold scores of invisible keys, which must not count.
  const end = seen + 3 & ~3;
  for (; j < end; j++) {
    const p = row + (<usize> j << 2);
    const v: f32 = j < seen ? load<f32>(p) * scale : -Infinity;
    store<f32>(p, v);
    top = f32x4.pmax(top, f32x4.splat(v));
  }
  const largest = f32x4.splat(lanesMax(top));
  let sum = f32x4.splat(0);
  // Two vectors at a time, which the engine may join into one of twice the width.
  for (j = 0; j + 8 <= end; j += 8) {
    const p = row + (<usize> j << 2);
    const v = expFlushed4(f32x4.sub(v128.load(p), largest));
    const w = expFlushed4(f32x4.sub(v128.load(p, 16), largest));
    v128.store(p, v);
    v128.store(p, w, 16);
    sum = f32x4.add(f32x4.add(sum, v), w);
  }
  if (j < end) {
    const p = row + (<usize> j << 2);
    const v = expFlushed4(f32x4.sub(v128.load(p), largest));
    v128.store(p, v);
    sum = f32x4.add(sum, v);
  }
  for (j = seen; j < width; j++) store<f32>(row + (<usize> j << 2), 0);
  return <f32> (1 / lanesSum(sum));
}

/**
 * ints: 0 q, 1 packed keys, 2 packed values, 3 out, 4 visible or 0, 5 heads, 6 headDim, 7 lq, 8 lk, 9 queries per
 * block, 10 blocks. floats: 0 scale. Keys and values are panels as packRows and packColumns leave them, batch entry by
 * head. scratch: address table (queries per block), strip [queries, 8], inverse sums, scores [queries, lk rounded up to
 * 8].
 */
export function attention(args: usize, begin: i32, end: i32, scratch: usize): void {
  const heads = int(args, 5), d = int(args, 6), lq = int(args, 7), lk = int(args, 8);
  const blockRows = int(args, 9), blocks = int(args, 10);
  const visible = ptr(args, 4);
  const scale = float(args, 0);
  const stride = <usize> (heads * d) << 2;
  const keyPanel = <usize> d << 5, valuePanel = <usize> lk << 5;
  const keyBytes = <usize> ((lk + 7) >> 3) * keyPanel, valueBytes = <usize> ((d + 7) >> 3) * valuePanel;
  const width = lk + 7 & ~7;
  const rowBytes = <usize> width << 2;
  const strip = scratch + (<usize> (blockRows + 15 & ~15) << 2);
  const inverse = strip + (<usize> (blockRows + 1) << 5);
  const scores = inverse + (<usize> (blockRows + 15 & ~15) << 2);
  for (let unit = begin; unit < end; unit++) {
    const zh = unit / blocks;
    const i0 = unit % blocks * blockRows;
    const rows = min(blockRows, lq - i0);
    const start = <usize> ((zh / heads * lq + i0) * heads + zh % heads) * <usize> d << 2;
    const q = ptr(args, 0) + start;
    const out = ptr(args, 3) + start;
    let seen = lk;
    if (visible) {
      seen = 1;
      for (let i = 0; i < rows; i++) seen = max(seen, load<i32>(visible + (<usize> (i0 + i) << 2)));
      seen = min(seen, lk);
    }
    const columns = seen + 7 & ~7;

    for (let i = 0; i < rows; i++) store<u32>(scratch + (<usize> i << 2), <u32> (q + <usize> i * stride));
    const keys = ptr(args, 1) + <usize> zh * keyBytes;
    for (let k0 = 0; k0 < d; k0 += K_BLOCK) {
      block(
        scratch,
        rows,
        <usize> k0 << 2,
        1,
        <usize> min(K_BLOCK, d - k0) << 2,
        0,
        keys + (<usize> k0 << 5),
        keyPanel,
        false,
        0,
        columns,
        scores,
        rowBytes,
        strip,
        k0 > 0,
      );
    }
    for (let i = 0; i < rows; i++) {
      const count = visible ? max(1, min(lk, load<i32>(visible + (<usize> (i0 + i) << 2)))) : lk;
      const row = scores + <usize> i * rowBytes;
      store<f32>(inverse + (<usize> i << 2), probabilities(row, count, columns, scale));
      store<u32>(scratch + (<usize> i << 2), <u32> row);
    }
    const values = ptr(args, 2) + <usize> zh * valueBytes;
    for (let k0 = 0; k0 < seen; k0 += K_BLOCK) {
      block(
        scratch,
        rows,
        <usize> k0 << 2,
        1,
        <usize> min(K_BLOCK, seen - k0) << 2,
        0,
        values + (<usize> k0 << 5),
        valuePanel,
        false,
        0,
        d,
        out,
        stride,
        strip,
        k0 > 0,
      );
    }
    flushStrip(rows, d, out, stride, strip);
    for (let i = 0; i < rows; i++) {
      const factor = load<f32>(inverse + (<usize> i << 2));
      let p = out + <usize> i * stride;
      let c = 0;
      for (; c + 4 <= d; c += 4) {
        v128.store(p, f32x4.mul(v128.load(p), f32x4.splat(factor)));
        p += 16;
      }
      for (; c < d; c++) {
        store<f32>(p, load<f32>(p) * factor);
        p += 4;
      }
    }
  }
}
