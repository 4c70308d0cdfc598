// AssemblyScript, which the type checker does not know and the formatter breaks (it drops decorators).
// @ts-nocheck
// deno-fmt-ignore-file
/**
 * The micro-kernel of every matrix product: up to 6 rows x 8 columns of C in registers.
 * Blocking, packing and the epilogue are in its callers.
 *
 * 12 accumulators, 2 loads of B and 1 splatted A fill the 16 vector registers of x64 without spilling; one more value,
 * or unrolling along K, makes the engine spill and halves the speed. Written out by hand because the language has no
 * arrays in registers; `rows` is a constant at every call, so the branches vanish.
 */
import { madd } from "./math.ts";

/**
 * C[rows, 8] (+)= A[rows, K] B[K, 8]. `table` holds the address of each row of A, `aOffset` is added to them; K comes
 * in `segments` runs of `runBytes` bytes of A, `gap` bytes apart from the end of one to the start of the next, while B
 * is one run. C's rows are `cStride` bytes apart; with `add` the product is added to C.
 */
@inline
function tile(
  rows: i32,
  table: usize,
  aOffset: usize,
  b: usize,
  segments: i32,
  runBytes: usize,
  gap: usize,
  c: usize,
  cStride: usize,
  add: bool,
): void {
  let a0 = <usize> load<u32>(table) + aOffset;
  let a1: usize = 0;
  let a2: usize = 0;
  let a3: usize = 0;
  let a4: usize = 0;
  let a5: usize = 0;
  if (rows > 1) a1 = <usize> load<u32>(table, 4) + aOffset;
  if (rows > 2) a2 = <usize> load<u32>(table, 8) + aOffset;
  if (rows > 3) a3 = <usize> load<u32>(table, 12) + aOffset;
  if (rows > 4) a4 = <usize> load<u32>(table, 16) + aOffset;
  if (rows > 5) a5 = <usize> load<u32>(table, 20) + aOffset;
  const zero = f32x4.splat(0);
  let c00 = zero, c01 = zero;
  let c10 = zero, c11 = zero;
  let c20 = zero, c21 = zero;
  let c30 = zero, c31 = zero;
  let c40 = zero, c41 = zero;
  let c50 = zero, c51 = zero;
  if (add) {
    let p = c;
    c00 = v128.load(p);
    c01 = v128.load(p, 16);
    if (rows > 1) {
      p += cStride;
      c10 = v128.load(p);
      c11 = v128.load(p, 16);
    }
    if (rows > 2) {
      p += cStride;
      c20 = v128.load(p);
      c21 = v128.load(p, 16);
    }
    if (rows > 3) {
      p += cStride;
      c30 = v128.load(p);
      c31 = v128.load(p, 16);
    }
    if (rows > 4) {
      p += cStride;
      c40 = v128.load(p);
      c41 = v128.load(p, 16);
    }
    if (rows > 5) {
      p += cStride;
      c50 = v128.load(p);
      c51 = v128.load(p, 16);
    }
  }
  while (true) {
    const end = a0 + runBytes;
    do {
      const b0 = v128.load(b);
      const b1 = v128.load(b, 16);
      const v0 = v128.load32_splat(a0);
      c00 = madd(v0, b0, c00);
      c01 = madd(v0, b1, c01);
      a0 += 4;
      if (rows > 1) {
        const v1 = v128.load32_splat(a1);
        c10 = madd(v1, b0, c10);
        c11 = madd(v1, b1, c11);
        a1 += 4;
      }
      if (rows > 2) {
        const v2 = v128.load32_splat(a2);
        c20 = madd(v2, b0, c20);
        c21 = madd(v2, b1, c21);
        a2 += 4;
      }
      if (rows > 3) {
        const v3 = v128.load32_splat(a3);
        c30 = madd(v3, b0, c30);
        c31 = madd(v3, b1, c31);
        a3 += 4;
      }
      if (rows > 4) {
        const v4 = v128.load32_splat(a4);
        c40 = madd(v4, b0, c40);
        c41 = madd(v4, b1, c41);
        a4 += 4;
      }
      if (rows > 5) {
        const v5 = v128.load32_splat(a5);
        c50 = madd(v5, b0, c50);
        c51 = madd(v5, b1, c51);
        a5 += 4;
      }
      b += 32;
    } while (a0 != end);
    if (--segments == 0) break;
    a0 += gap;
    if (rows > 1) a1 += gap;
    if (rows > 2) a2 += gap;
    if (rows > 3) a3 += gap;
    if (rows > 4) a4 += gap;
    if (rows > 5) a5 += gap;
  }
  v128.store(c, c00);
  v128.store(c, c01, 16);
  if (rows > 1) {
    c += cStride;
    v128.store(c, c10);
    v128.store(c, c11, 16);
  }
  if (rows > 2) {
    c += cStride;
    v128.store(c, c20);
    v128.store(c, c21, 16);
  }
  if (rows > 3) {
    c += cStride;
    v128.store(c, c30);
    v128.store(c, c31, 16);
  }
  if (rows > 4) {
    c += cStride;
    v128.store(c, c40);
    v128.store(c, c41, 16);
  }
  if (rows > 5) {
    c += cStride;
    v128.store(c, c50);
    v128.store(c, c51, 16);
  }
}

export function tile1(
  table: usize,
  aOffset: usize,
  b: usize,
  segments: i32,
  runBytes: usize,
  gap: usize,
  c: usize,
  cStride: usize,
  add: bool,
): void {
  tile(1, table, aOffset, b, segments, runBytes, gap, c, cStride, add);
}

export function tile2(
  table: usize,
  aOffset: usize,
  b: usize,
  segments: i32,
  runBytes: usize,
  gap: usize,
  c: usize,
  cStride: usize,
  add: bool,
): void {
  tile(2, table, aOffset, b, segments, runBytes, gap, c, cStride, add);
}

export function tile3(
  table: usize,
  aOffset: usize,
  b: usize,
  segments: i32,
  runBytes: usize,
  gap: usize,
  c: usize,
  cStride: usize,
  add: bool,
): void {
  tile(3, table, aOffset, b, segments, runBytes, gap, c, cStride, add);
}

export function tile4(
  table: usize,
  aOffset: usize,
  b: usize,
  segments: i32,
  runBytes: usize,
  gap: usize,
  c: usize,
  cStride: usize,
  add: bool,
): void {
  tile(4, table, aOffset, b, segments, runBytes, gap, c, cStride, add);
}

export function tile5(
  table: usize,
  aOffset: usize,
  b: usize,
  segments: i32,
  runBytes: usize,
  gap: usize,
  c: usize,
  cStride: usize,
  add: bool,
): void {
  tile(5, table, aOffset, b, segments, runBytes, gap, c, cStride, add);
}

export function tile6(
  table: usize,
  aOffset: usize,
  b: usize,
  segments: i32,
  runBytes: usize,
  gap: usize,
  c: usize,
  cStride: usize,
  add: bool,
): void {
  tile(6, table, aOffset, b, segments, runBytes, gap, c, cStride, add);
}
