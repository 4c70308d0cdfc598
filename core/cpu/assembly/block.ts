// AssemblyScript, which the type checker does not know and the formatter breaks (it drops decorators).
// @ts-nocheck
// deno-fmt-ignore-file
/**
 * A block of rows times panels of eight columns, and the epilogue: bias, activation, gate, residual.
 * Rows are given by a table of addresses, which matmul, convolution and attention fill.
 */
import { int, loadTail, ptr, storeTail } from "./args.ts";
import { activate4, expandHalves, GELU, GELU_TANH, NONE, RELU, SILU } from "./math.ts";
import { tile1, tile2, tile3, tile4, tile5, tile6 } from "./tile.ts";
import { wide1, wide2, wide3, wide4, wide5, wide6 } from "./tile_wide.ts";

/** Panels per multiplication. */
@inline
export const PANELS: i32 = isDefined(WIDE) ? 2 : 1;

/** Rows of the main tile: 12 accumulators, or 8 where a product needs a register before it is added. */
@inline
const ROWS: i32 = ASC_FEATURE_RELAXED_SIMD ? 6 : 4;

/**
 * C[m, n] (+)= A[m, K] B[K, n] for one run of K (`segments`, `runBytes`, `gap` as in tile). `b` is the first panel's
 * part for this run, panels are `panelBytes` apart; halves are widened into `expanded` (PANELS panels) first. Columns
 * beyond the last whole panel go to `strip`, [m, 8], which must persist between runs of K and be copied out by
 * flushStrip after the last.
 */
export function block(
  table: usize,
  m: i32,
  aOffset: usize,
  segments: i32,
  runBytes: usize,
  gap: usize,
  b: usize,
  panelBytes: usize,
  halves: bool,
  expanded: usize,
  n: i32,
  c: usize,
  cStride: usize,
  strip: usize,
  add: bool,
): void {
  const k = segments * <i32> (runBytes >> 2);
  let j = 0;
  if (isDefined(WIDE)) {
    for (; j + 16 <= n; j += 16) {
      let first = b;
      let second = b + panelBytes;
      if (halves) {
        first = expanded;
        second = expanded + (<usize> k << 5);
        expandHalves(b, first, k << 3);
        expandHalves(b + panelBytes, second, k << 3);
      }
      pairOfPanels(table, m, aOffset, segments, runBytes, gap, first, second, c + (<usize> j << 2), cStride, add);
      b += 2 * panelBytes;
    }
  }
  for (; j < n; j += 8) {
    let panel = b;
    if (halves) {
      expandHalves(b, expanded, k << 3);
      panel = expanded;
    }
    let to = c + (<usize> j << 2);
    let stride = cStride;
    if (n - j < 8) {
      to = strip;
      stride = 32;
    }
    let t = table;
    let i = m;
    for (; i >= ROWS; i -= ROWS) {
      if (ROWS == 6) tile6(t, aOffset, panel, segments, runBytes, gap, to, stride, add);
      else tile4(t, aOffset, panel, segments, runBytes, gap, to, stride, add);
      t += ROWS * 4;
      to += ROWS * stride;
    }
    if (i == 1) tile1(t, aOffset, panel, segments, runBytes, gap, to, stride, add);
    else if (i == 2) tile2(t, aOffset, panel, segments, runBytes, gap, to, stride, add);
    else if (i == 3) tile3(t, aOffset, panel, segments, runBytes, gap, to, stride, add);
    else if (i == 4) tile4(t, aOffset, panel, segments, runBytes, gap, to, stride, add);
    else if (i == 5) tile5(t, aOffset, panel, segments, runBytes, gap, to, stride, add);
    b += panelBytes;
  }
}

/** Sixteen columns of C of all rows. */
@inline
function pairOfPanels(
  t: usize,
  m: i32,
  aOffset: usize,
  segments: i32,
  runBytes: usize,
  gap: usize,
  b: usize,
  b2: usize,
  to: usize,
  stride: usize,
  add: bool,
): void {
  for (; m >= 6; m -= 6) {
    wide6(t, aOffset, b, b2, segments, runBytes, gap, to, stride, add);
    t += 24;
    to += 6 * stride;
  }
  if (m == 1) wide1(t, aOffset, b, b2, segments, runBytes, gap, to, stride, add);
  else if (m == 2) wide2(t, aOffset, b, b2, segments, runBytes, gap, to, stride, add);
  else if (m == 3) wide3(t, aOffset, b, b2, segments, runBytes, gap, to, stride, add);
  else if (m == 4) wide4(t, aOffset, b, b2, segments, runBytes, gap, to, stride, add);
  else if (m == 5) wide5(t, aOffset, b, b2, segments, runBytes, gap, to, stride, add);
}

/** Copies the columns that did not fill a panel from `strip` to their place in C. */
export function flushStrip(m: i32, n: i32, c: usize, cStride: usize, strip: usize): void {
  const rest = n & 7;
  if (rest == 0) return;
  let to = c + (<usize> (n - rest) << 2);
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < rest; j++) store<f32>(to + (<usize> j << 2), load<f32>(strip + (<usize> j << 2)));
    to += cStride;
    strip += 32;
  }
}

@inline
function finishRow(code: i32, c: usize, n: i32, bias: usize, gate: usize, residual: usize): void {
  let j = 0;
  // Two vectors at a time, which the engine may join into one of twice the width.
  for (; j + 8 <= n; j += 8) {
    const at = <usize> j << 2;
    let v = v128.load(c + at), w = v128.load(c + at, 16);
    if (bias) {
      v = f32x4.add(v, v128.load(bias + at));
      w = f32x4.add(w, v128.load(bias + at, 16));
    }
    v = activate4(v, code);
    w = activate4(w, code);
    if (gate) {
      v = f32x4.mul(v, v128.load(gate + at));
      w = f32x4.mul(w, v128.load(gate + at, 16));
    }
    if (residual) {
      v = f32x4.add(v, v128.load(residual + at));
      w = f32x4.add(w, v128.load(residual + at, 16));
    }
    v128.store(c + at, v);
    v128.store(c + at, w, 16);
  }
  if (j + 4 <= n) {
    const at = <usize> j << 2;
    let v = v128.load(c + at);
    if (bias) v = f32x4.add(v, v128.load(bias + at));
    v = activate4(v, code);
    if (gate) v = f32x4.mul(v, v128.load(gate + at));
    if (residual) v = f32x4.add(v, v128.load(residual + at));
    v128.store(c + at, v);
    j += 4;
  }
  if (j < n) {
    const at = <usize> j << 2;
    let v = loadTail(c + at, n - j);
    if (bias) v = f32x4.add(v, loadTail(bias + at, n - j));
    v = activate4(v, code);
    if (gate) v = f32x4.mul(v, loadTail(gate + at, n - j));
    if (residual) v = f32x4.add(v, loadTail(residual + at, n - j));
    storeTail(c + at, v, n - j);
  }
}

/**
 * Arguments of an epilogue, from int `at` on: bias, activation, residual, gate, and the gate's table as in rowAddress.
 */
export const EPILOGUE_INTS = 8;

/** The address of row `r` of a broadcast table: data, seq, batchStride, rowStride, offset from int `at` on. */
@inline
export function rowAddress(args: usize, at: i32, r: i32): usize {
  const seq = int(args, at + 1);
  const elements = r / seq * int(args, at + 2) + r % seq * int(args, at + 3) + int(args, at + 4);
  return ptr(args, at) + (<usize> elements << 2);
}

/**
 * residual + gate * act(C + bias) in place, for rows r0.. of the whole result (m of them) and columns j0.. (n of them).
 * `width` is the number of columns of the whole result.
 */
export function epilogue(
  args: usize,
  at: i32,
  c: usize,
  cStride: usize,
  r0: i32,
  m: i32,
  j0: i32,
  n: i32,
  width: i32,
): void {
  let bias = ptr(args, at);
  const code = int(args, at + 1);
  const residuals = ptr(args, at + 2);
  const gates = ptr(args, at + 3);
  if (bias == 0 && code == NONE && residuals == 0 && gates == 0) return;
  const column = <usize> j0 << 2;
  if (bias) bias += column;
  for (let i = 0; i < m; i++) {
    const residual = residuals ? residuals + (<usize> (r0 + i) * width << 2) + column : 0;
    const gate = gates ? rowAddress(args, at + 3, r0 + i) + column : 0;
    if (code == SILU) finishRow(SILU, c, n, bias, gate, residual);
    else if (code == GELU) finishRow(GELU, c, n, bias, gate, residual);
    else if (code == GELU_TANH) finishRow(GELU_TANH, c, n, bias, gate, residual);
    else if (code == RELU) finishRow(RELU, c, n, bias, gate, residual);
    else finishRow(NONE, c, n, bias, gate, residual);
    c += cStride;
  }
}
