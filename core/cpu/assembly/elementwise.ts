// AssemblyScript, which the type checker does not know and the formatter breaks (it drops decorators).
// @ts-nocheck
// deno-fmt-ignore-file
/**
 * Elementwise functions of one and two operands, and strided copies, over runs of the innermost dimension.
 * The functions' definitions are the rows of core/tensor/elementwise.ts; the codes here follow kernels/elementwise.ts.
 */
import { float, int, loadTail, ptr, storeTail } from "./args.ts";
import {
  eluGradient4, exp4, gelu4, geluGradient4, geluTanh4, geluTanhGradient4, sigmoid4, sigmoidGradient4, silu4,
  siluGradient4,
  tanh4, tanhGradient4,
} from "./math.ts";

/** Elements per unit of a contiguous operation. */
const UNIT: i32 = 4096;

@inline
function unary4(code: i32, x: v128, a: v128, b: v128): v128 {
  if (code == 0) return f32x4.neg(x);
  if (code == 1) return f32x4.abs(x);
  if (code == 2) return exp4(x);
  if (code == 3) return f32x4.sqrt(x);
  if (code == 4) return f32x4.mul(x, x);
  if (code == 5) return f32x4.div(f32x4.splat(1), x);
  if (code == 6) return f32x4.floor(x);
  if (code == 7) return tanh4(x);
  if (code == 8) return sigmoid4(x);
  if (code == 9) return f32x4.max(x, f32x4.splat(0));
  if (code == 10) return silu4(x);
  if (code == 11) return gelu4(x);
  if (code == 12) return geluTanh4(x);
  if (code == 13) return f32x4.add(f32x4.mul(x, a), b);
  return f32x4.min(f32x4.max(x, a), b);
}

@inline
function unaryLoop(code: i32, x: usize, out: usize, n: i32, a: v128, b: v128): void {
  let i = 0;
  for (; i + 4 <= n; i += 4) {
    v128.store(out, unary4(code, v128.load(x), a, b));
    x += 16;
    out += 16;
  }
  if (i < n) storeTail(out, unary4(code, loadTail(x, n - i), a, b), n - i);
}

/** ints: 0 x, 1 out, 2 n, 3 function. floats: a, b. One unit is 4096 elements. */
export function unary(args: usize, begin: i32, end: i32, _scratch: usize): void {
  const first = begin * UNIT;
  const n = min(int(args, 2), end * UNIT) - first;
  const x = ptr(args, 0) + (<usize> first << 2), out = ptr(args, 1) + (<usize> first << 2);
  const a = f32x4.splat(float(args, 0)), b = f32x4.splat(float(args, 1));
  switch (int(args, 3)) {
    case 0:
      return unaryLoop(0, x, out, n, a, b);
    case 1:
      return unaryLoop(1, x, out, n, a, b);
    case 2:
      return unaryLoop(2, x, out, n, a, b);
    case 3:
      return unaryLoop(3, x, out, n, a, b);
    case 4:
      return unaryLoop(4, x, out, n, a, b);
    case 5:
      return unaryLoop(5, x, out, n, a, b);
    case 6:
      return unaryLoop(6, x, out, n, a, b);
    case 7:
      return unaryLoop(7, x, out, n, a, b);
    case 8:
      return unaryLoop(8, x, out, n, a, b);
    case 9:
      return unaryLoop(9, x, out, n, a, b);
    case 10:
      return unaryLoop(10, x, out, n, a, b);
    case 11:
      return unaryLoop(11, x, out, n, a, b);
    case 12:
      return unaryLoop(12, x, out, n, a, b);
    case 13:
      return unaryLoop(13, x, out, n, a, b);
    default:
      return unaryLoop(14, x, out, n, a, b);
  }
}

@inline
function binary4(code: i32, x: v128, y: v128): v128 {
  if (code == 0) return f32x4.add(x, y);
  if (code == 1) return f32x4.sub(x, y);
  if (code == 2) return f32x4.mul(x, y);
  if (code == 3) return f32x4.div(x, y);
  if (code == 4) return f32x4.max(x, y);
  if (code == 5) return f32x4.min(x, y);
  const one = f32x4.splat(1);
  if (code == 6) return v128.and(f32x4.eq(x, y), one);
  if (code == 7) return v128.and(f32x4.lt(x, y), one);
  if (code == 8) return v128.and(f32x4.le(x, y), one);
  // y times the derivative at x.
  if (code == 9) return f32x4.mul(y, tanhGradient4(x));
  if (code == 10) return f32x4.mul(y, sigmoidGradient4(x));
  if (code == 11) return f32x4.mul(y, v128.and(f32x4.gt(x, f32x4.splat(0)), one));
  if (code == 12) return f32x4.mul(y, eluGradient4(x));
  if (code == 13) return f32x4.mul(y, siluGradient4(x));
  if (code == 14) return f32x4.mul(y, geluGradient4(x));
  return f32x4.mul(y, geluTanhGradient4(x));
}

/** One run; an operand of stride 0 is one value for the whole run. */
@inline
function binaryRun(code: i32, x: usize, y: usize, out: usize, n: i32, xMoves: bool, yMoves: bool): void {
  const x0 = v128.load32_splat(x), y0 = v128.load32_splat(y);
  let i = 0;
  for (; i + 4 <= n; i += 4) {
    v128.store(out, binary4(code, xMoves ? v128.load(x) : x0, yMoves ? v128.load(y) : y0));
    x += 16;
    y += 16;
    out += 16;
  }
  if (i < n) {
    const left = n - i;
    storeTail(out, binary4(code, xMoves ? loadTail(x, left) : x0, yMoves ? loadTail(y, left) : y0), left);
  }
}

@inline
function binaryWith(code: i32, x: usize, y: usize, out: usize, n: i32, xMoves: bool, yMoves: bool): void {
  if (xMoves && yMoves) binaryRun(code, x, y, out, n, true, true);
  else if (xMoves) binaryRun(code, x, y, out, n, true, false);
  else if (yMoves) binaryRun(code, x, y, out, n, false, true);
  else binaryRun(code, x, y, out, n, false, false);
}

/** Where a run starts: the sum of index times stride over the leading dimensions, in elements. */
@inline
function offsetOf(args: usize, run: i32, rank: i32, dims: i32, strides: i32): i32 {
  let offset = 0;
  for (let d = rank - 1; d > 0; d--) {
    const size = int(args, dims + d);
    offset += run % size * int(args, strides + d);
    run /= size;
  }
  return rank > 0 ? offset + run * int(args, strides) : 0;
}

/**
 * ints: 0 x, 1 y, 2 out, 3 function, 4 length of a run, 5 and 6 x's and y's stride within it (0 or 1), 7 pieces per
 * run, 8 leading dimensions, 9..13 their sizes, 14..18 x's strides, 19..23 y's. One unit is one piece of 4096 of a run.
 */
export function binary(args: usize, begin: i32, end: i32, _scratch: usize): void {
  const code = int(args, 3), n = int(args, 4), pieces = int(args, 7), rank = int(args, 8);
  const xMoves = int(args, 5) != 0, yMoves = int(args, 6) != 0;
  for (let unit = begin; unit < end; unit++) {
    const run = unit / pieces;
    const i0 = unit % pieces * UNIT;
    const count = min(UNIT, n - i0);
    const x = ptr(args, 0) + (<usize> (offsetOf(args, run, rank, 9, 14) + (xMoves ? i0 : 0)) << 2);
    const y = ptr(args, 1) + (<usize> (offsetOf(args, run, rank, 9, 19) + (yMoves ? i0 : 0)) << 2);
    const out = ptr(args, 2) + (<usize> (run * n + i0) << 2);
    switch (code) {
      case 0:
        binaryWith(0, x, y, out, count, xMoves, yMoves);
        break;
      case 1:
        binaryWith(1, x, y, out, count, xMoves, yMoves);
        break;
      case 2:
        binaryWith(2, x, y, out, count, xMoves, yMoves);
        break;
      case 3:
        binaryWith(3, x, y, out, count, xMoves, yMoves);
        break;
      case 4:
        binaryWith(4, x, y, out, count, xMoves, yMoves);
        break;
      case 5:
        binaryWith(5, x, y, out, count, xMoves, yMoves);
        break;
      case 6:
        binaryWith(6, x, y, out, count, xMoves, yMoves);
        break;
      case 7:
        binaryWith(7, x, y, out, count, xMoves, yMoves);
        break;
      case 8:
        binaryWith(8, x, y, out, count, xMoves, yMoves);
        break;
      // The gradients are bound by arithmetic and hardly ever broadcast: one loop each, which looks at the strides.
      case 9:
        binaryRun(9, x, y, out, count, xMoves, yMoves);
        break;
      case 10:
        binaryRun(10, x, y, out, count, xMoves, yMoves);
        break;
      case 11:
        binaryRun(11, x, y, out, count, xMoves, yMoves);
        break;
      case 12:
        binaryRun(12, x, y, out, count, xMoves, yMoves);
        break;
      case 13:
        binaryRun(13, x, y, out, count, xMoves, yMoves);
        break;
      case 14:
        binaryRun(14, x, y, out, count, xMoves, yMoves);
        break;
      default:
        binaryRun(15, x, y, out, count, xMoves, yMoves);
    }
  }
}

/**
 * ints: 0 x, 1 out, 2 length of a run, 3 and 4 x's and out's stride within it, 5 pieces per run, 6 leading dimensions,
 * 7..11 their sizes, 12..16 x's strides, 17..21 out's. One unit is one piece of 4096 of a run.
 */
export function stridedCopy(args: usize, begin: i32, end: i32, _scratch: usize): void {
  const n = int(args, 2), xs = int(args, 3), os = int(args, 4), pieces = int(args, 5), rank = int(args, 6);
  const xStep = <usize> xs << 2, outStep = <usize> os << 2;
  for (let unit = begin; unit < end; unit++) {
    const run = unit / pieces;
    const i0 = unit % pieces * UNIT;
    const count = min(UNIT, n - i0);
    let x = ptr(args, 0) + (<usize> (offsetOf(args, run, rank, 7, 12) + i0 * xs) << 2);
    let out = ptr(args, 1) + (<usize> (offsetOf(args, run, rank, 7, 17) + i0 * os) << 2);
    if (xs == 1 && os == 1) {
      if (count >= 256) {
        memory.copy(out, x, <usize> count << 2);
        continue;
      }
      let i = 0;
      for (; i + 4 <= count; i += 4) {
        v128.store(out, v128.load(x));
        x += 16;
        out += 16;
      }
      if (i < count) storeTail(out, loadTail(x, count - i), count - i);
    } else {
      for (let i = 0; i < count; i++) {
        store<u32>(out, load<u32>(x));
        x += xStep;
        out += outStep;
      }
    }
  }
}
