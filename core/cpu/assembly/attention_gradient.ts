// AssemblyScript, which the type checker does not know and the formatter breaks (it drops decorators).
// @ts-nocheck
// deno-fmt-ignore-file
/**
 * Gradients of attention. One unit is one head of one batch entry: blocks of queries go through the scores again, and
 * what they add to the gradients of keys and values is summed in the order of the blocks.
 *
 * With P = softmax(scale q k^T) and u the upstream: dv = P^T u, dP = u v^T, dS = P (dP - rowsum(P dP)),
 * dq = scale dS k, dk = scale dS^T q.
 */
import { float, int, lanesSum, ptr } from "./args.ts";
import { probabilities } from "./attention.ts";
import { block, flushStrip } from "./block.ts";
import { packPanel, packRowPanel, transposeBlock } from "./pack.ts";

const K_BLOCK: i32 = 768;

/** C[rows, n] = A[rows, K] B, A's addresses from `table`, K in runs that fit a panel into the first-level cache. */
function product(
  table: usize,
  rows: i32,
  k: i32,
  b: usize,
  panelBytes: usize,
  n: i32,
  c: usize,
  cStride: usize,
  strip: usize,
): void {
  for (let k0 = 0; k0 < k; k0 += K_BLOCK) {
    const run = <usize> min(K_BLOCK, k - k0) << 2;
    const panel = b + (<usize> k0 << 5);
    block(table, rows, <usize> k0 << 2, 1, run, 0, panel, panelBytes, false, 0, n, c, cStride, strip, k0 > 0);
  }
}

function fillTable(table: usize, rows: i32, first: usize, stride: usize): void {
  for (let i = 0; i < rows; i++) store<u32>(table + (<usize> i << 2), <u32> (first + <usize> i * stride));
}

/** Panels of x[k, n], n contiguous, `panelBytes` apart. */
function packAll(x: usize, stride: usize, k: i32, n: i32, to: usize, panelBytes: usize): void {
  for (let j = 0; j < n; j += 8) {
    packPanel(x + (<usize> j << 2), stride, k, min(8, n - j), to);
    to += panelBytes;
  }
}

/** p := p * inverse and d := p (d - sum(p d)) * scale over `width` columns (a multiple of 4). */
function scoreGradients(p: usize, d: usize, width: i32, inverse: f32, scale: f32): void {
  const factor = f32x4.splat(inverse);
  const bytes = <usize> width << 2;
  let sum = f32x4.splat(0);
  let total: f64 = 0;
  for (let at: usize = 0; at < bytes; at += 16) {
    const v = f32x4.mul(v128.load(p + at), factor);
    v128.store(p + at, v);
    sum = f32x4.add(sum, f32x4.mul(v, v128.load(d + at)));
    // Partial sums of at most 64 terms per lane are added up in f64.
    if ((at & 1023) == 1008) {
      total += lanesSum(sum);
      sum = f32x4.splat(0);
    }
  }
  const mean = f32x4.splat(<f32> (total + lanesSum(sum)));
  const by = f32x4.splat(scale);
  for (let at: usize = 0; at < bytes; at += 16) {
    const inner = f32x4.mul(v128.load(p + at), f32x4.sub(v128.load(d + at), mean));
    v128.store(d + at, f32x4.mul(inner, by));
  }
}

/**
 * ints: 0 q, 1 k, 2 v, 3 upstream, 4 dq or 0, 5 dk or 0, 6 dv or 0, 7 visible or 0, 8 heads, 9 headDim, 10 lq, 11 lk,
 * 12 rows of k and v, 13 queries per block. floats: 0 scale. With w = lk and e = headDim rounded up to 8:
 * scratch: table [max(queries, w)], strip [queries, 8], strips of dk and dv [w, 8], panels of k^T and v^T [w, headDim]
 * each, of k [e, lk], P and dP [queries, w], one of them transposed, panels of q or the upstream [e, queries].
 */
export function attentionGradient(args: usize, begin: i32, end: i32, scratch: usize): void {
  const heads = int(args, 8), d = int(args, 9), lq = int(args, 10), lk = int(args, 11), capacity = int(args, 12);
  const blockRows = int(args, 13);
  const visible = ptr(args, 7);
  const scale = float(args, 0);
  const stride = <usize> (heads * d) << 2;
  const w = lk + 7 & ~7, e = d + 7 & ~7;
  const rowBytes = <usize> w << 2;
  const headPanel = <usize> d << 5, keyPanel = <usize> lk << 5, queryPanel = <usize> blockRows << 5;
  const strip = scratch + (<usize> (max(blockRows, w) + 15 & ~15) << 2);
  const keyStrip = strip + (<usize> blockRows << 5);
  const valueStrip = keyStrip + (<usize> w << 5);
  const keysT = valueStrip + (<usize> w << 5);
  const valuesT = keysT + <usize> d * rowBytes;
  const keys = valuesT + <usize> d * rowBytes;
  const p = keys + (<usize> (e * lk) << 2);
  const dp = p + <usize> blockRows * rowBytes;
  const turned = dp + <usize> blockRows * rowBytes;
  const turnedRow = <usize> blockRows << 2;
  const panels = turned + <usize> w * turnedRow;
  for (let unit = begin; unit < end; unit++) {
    const z = unit / heads, h = unit % heads;
    const keyStart = <usize> (z * capacity * heads + h) * <usize> d << 2;
    const k = ptr(args, 1) + keyStart, v = ptr(args, 2) + keyStart;
    const dk = ptr(args, 5) ? ptr(args, 5) + keyStart : 0, dv = ptr(args, 6) ? ptr(args, 6) + keyStart : 0;
    for (let j = 0; j < lk; j += 8) {
      const from = <usize> j * stride;
      packRowPanel(k + from, stride, d, min(8, lk - j), keysT + <usize> (j >> 3) * headPanel);
      packRowPanel(v + from, stride, d, min(8, lk - j), valuesT + <usize> (j >> 3) * headPanel);
    }
    packAll(k, stride, lk, d, keys, keyPanel);
    for (let j = 0; j < capacity; j++) {
      if (dk) memory.fill(dk + <usize> j * stride, 0, <usize> d << 2);
      if (dv) memory.fill(dv + <usize> j * stride, 0, <usize> d << 2);
    }
    memory.fill(keyStrip, 0, <usize> w << 6);
    for (let i0 = 0; i0 < lq; i0 += blockRows) {
      const rows = min(blockRows, lq - i0);
      const start = <usize> ((z * lq + i0) * heads + h) * <usize> d << 2;
      const q = ptr(args, 0) + start, u = ptr(args, 3) + start;
      let seen = lk;
      if (visible) {
        seen = 1;
        for (let i = 0; i < rows; i++) seen = max(seen, load<i32>(visible + (<usize> (i0 + i) << 2)));
        seen = min(seen, lk);
      }
      const columns = seen + 7 & ~7;
      fillTable(scratch, rows, q, stride);
      product(scratch, rows, d, keysT, headPanel, columns, p, rowBytes, strip);
      fillTable(scratch, rows, u, stride);
      product(scratch, rows, d, valuesT, headPanel, columns, dp, rowBytes, strip);
      for (let i = 0; i < rows; i++) {
        const count = visible ? max(1, min(lk, load<i32>(visible + (<usize> (i0 + i) << 2)))) : lk;
        const at = <usize> i * rowBytes;
        scoreGradients(p + at, dp + at, columns, probabilities(p + at, count, columns, scale), scale);
      }
      if (ptr(args, 4)) {
        const dq = ptr(args, 4) + start;
        fillTable(scratch, rows, dp, rowBytes);
        product(scratch, rows, seen, keys, keyPanel, d, dq, stride, strip);
        flushStrip(rows, d, dq, stride, strip);
      }
      const run = <usize> rows << 2;
      fillTable(scratch, seen, turned, turnedRow);
      if (dk) {
        transposeBlock(dp, rowBytes, rows, seen, turned, turnedRow);
        packAll(q, stride, rows, d, panels, queryPanel);
        block(scratch, seen, 0, 1, run, 0, panels, queryPanel, false, 0, d, dk, stride, keyStrip, true);
      }
      if (dv) {
        transposeBlock(p, rowBytes, rows, seen, turned, turnedRow);
        packAll(u, stride, rows, d, panels, queryPanel);
        block(scratch, seen, 0, 1, run, 0, panels, queryPanel, false, 0, d, dv, stride, valueStrip, true);
      }
    }
    if (dk) flushStrip(lk, d, dk, stride, keyStrip);
    if (dv) flushStrip(lk, d, dv, stride, valueStrip);
  }
}
