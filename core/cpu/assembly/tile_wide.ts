// AssemblyScript, which the type checker does not know and the formatter breaks (it drops decorators).
// @ts-nocheck
// deno-fmt-ignore-file
/**
 * The micro-kernel for engines that join two 128-bit operations into one of 256 bits: up to 6 rows x 16 columns of C.
 * Sums are taken in the order of tile.ts, so results have the same bits. pool.ts chooses the build.
 *
 * Joined, 12 accumulators, 2 loads of B and the splatted A fill the 16 vector registers of x64 as tile.ts's do; not
 * joined, they spill. V8 joins operations that end in two stores to neighbouring addresses, if there is no branch among
 * them.
 */
import { madd } from "./math.ts";

/**
 * C[rows, 16] (+)= A[rows, K] B[K, 16], as tile() but for two panels of B, `b` and `b2`, of eight columns each.
 */
@inline
function tile(
  rows: i32,
  table: usize,
  aOffset: usize,
  b: usize,
  b2: usize,
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
  // All ones to keep the contents of C, or zeros. A branch would end the basic block, beyond which V8 joins nothing.
  const kept = i32x4.splat(-<i32> add);
  let c00 = kept, c01 = kept, c02 = kept, c03 = kept;
  let c10 = kept, c11 = kept, c12 = kept, c13 = kept;
  let c20 = kept, c21 = kept, c22 = kept, c23 = kept;
  let c30 = kept, c31 = kept, c32 = kept, c33 = kept;
  let c40 = kept, c41 = kept, c42 = kept, c43 = kept;
  let c50 = kept, c51 = kept, c52 = kept, c53 = kept;
  let p = c;
  c00 = v128.and(v128.load(p), kept);
  c01 = v128.and(v128.load(p, 16), kept);
  c02 = v128.and(v128.load(p, 32), kept);
  c03 = v128.and(v128.load(p, 48), kept);
  if (rows > 1) {
    p += cStride;
    c10 = v128.and(v128.load(p), kept);
    c11 = v128.and(v128.load(p, 16), kept);
    c12 = v128.and(v128.load(p, 32), kept);
    c13 = v128.and(v128.load(p, 48), kept);
  }
  if (rows > 2) {
    p += cStride;
    c20 = v128.and(v128.load(p), kept);
    c21 = v128.and(v128.load(p, 16), kept);
    c22 = v128.and(v128.load(p, 32), kept);
    c23 = v128.and(v128.load(p, 48), kept);
  }
  if (rows > 3) {
    p += cStride;
    c30 = v128.and(v128.load(p), kept);
    c31 = v128.and(v128.load(p, 16), kept);
    c32 = v128.and(v128.load(p, 32), kept);
    c33 = v128.and(v128.load(p, 48), kept);
  }
  if (rows > 4) {
    p += cStride;
    c40 = v128.and(v128.load(p), kept);
    c41 = v128.and(v128.load(p, 16), kept);
    c42 = v128.and(v128.load(p, 32), kept);
    c43 = v128.and(v128.load(p, 48), kept);
  }
  if (rows > 5) {
    p += cStride;
    c50 = v128.and(v128.load(p), kept);
    c51 = v128.and(v128.load(p, 16), kept);
    c52 = v128.and(v128.load(p, 32), kept);
    c53 = v128.and(v128.load(p, 48), kept);
  }
  while (true) {
    const end = a0 + runBytes;
    do {
      const q0 = v128.load(b);
      const q1 = v128.load(b, 16);
      const q2 = v128.load(b2);
      const q3 = v128.load(b2, 16);
      const v0 = v128.load32_splat(a0);
      c00 = madd(v0, q0, c00);
      c01 = madd(v0, q1, c01);
      c02 = madd(v0, q2, c02);
      c03 = madd(v0, q3, c03);
      a0 += 4;
      if (rows > 1) {
        const v1 = v128.load32_splat(a1);
        c10 = madd(v1, q0, c10);
        c11 = madd(v1, q1, c11);
        c12 = madd(v1, q2, c12);
        c13 = madd(v1, q3, c13);
        a1 += 4;
      }
      if (rows > 2) {
        const v2 = v128.load32_splat(a2);
        c20 = madd(v2, q0, c20);
        c21 = madd(v2, q1, c21);
        c22 = madd(v2, q2, c22);
        c23 = madd(v2, q3, c23);
        a2 += 4;
      }
      if (rows > 3) {
        const v3 = v128.load32_splat(a3);
        c30 = madd(v3, q0, c30);
        c31 = madd(v3, q1, c31);
        c32 = madd(v3, q2, c32);
        c33 = madd(v3, q3, c33);
        a3 += 4;
      }
      if (rows > 4) {
        const v4 = v128.load32_splat(a4);
        c40 = madd(v4, q0, c40);
        c41 = madd(v4, q1, c41);
        c42 = madd(v4, q2, c42);
        c43 = madd(v4, q3, c43);
        a4 += 4;
      }
      if (rows > 5) {
        const v5 = v128.load32_splat(a5);
        c50 = madd(v5, q0, c50);
        c51 = madd(v5, q1, c51);
        c52 = madd(v5, q2, c52);
        c53 = madd(v5, q3, c53);
        a5 += 4;
      }
      b += 32;
      b2 += 32;
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
  v128.store(c, c02, 32);
  v128.store(c, c03, 48);
  if (rows > 1) {
    c += cStride;
    v128.store(c, c10);
    v128.store(c, c11, 16);
    v128.store(c, c12, 32);
    v128.store(c, c13, 48);
  }
  if (rows > 2) {
    c += cStride;
    v128.store(c, c20);
    v128.store(c, c21, 16);
    v128.store(c, c22, 32);
    v128.store(c, c23, 48);
  }
  if (rows > 3) {
    c += cStride;
    v128.store(c, c30);
    v128.store(c, c31, 16);
    v128.store(c, c32, 32);
    v128.store(c, c33, 48);
  }
  if (rows > 4) {
    c += cStride;
    v128.store(c, c40);
    v128.store(c, c41, 16);
    v128.store(c, c42, 32);
    v128.store(c, c43, 48);
  }
  if (rows > 5) {
    c += cStride;
    v128.store(c, c50);
    v128.store(c, c51, 16);
    v128.store(c, c52, 32);
    v128.store(c, c53, 48);
  }
}

export function wide1(
  table: usize,
  aOffset: usize,
  b: usize,
  b2: usize,
  segments: i32,
  runBytes: usize,
  gap: usize,
  c: usize,
  cStride: usize,
  add: bool,
): void {
  tile(1, table, aOffset, b, b2, segments, runBytes, gap, c, cStride, add);
}

export function wide2(
  table: usize,
  aOffset: usize,
  b: usize,
  b2: usize,
  segments: i32,
  runBytes: usize,
  gap: usize,
  c: usize,
  cStride: usize,
  add: bool,
): void {
  tile(2, table, aOffset, b, b2, segments, runBytes, gap, c, cStride, add);
}

export function wide3(
  table: usize,
  aOffset: usize,
  b: usize,
  b2: usize,
  segments: i32,
  runBytes: usize,
  gap: usize,
  c: usize,
  cStride: usize,
  add: bool,
): void {
  tile(3, table, aOffset, b, b2, segments, runBytes, gap, c, cStride, add);
}

export function wide4(
  table: usize,
  aOffset: usize,
  b: usize,
  b2: usize,
  segments: i32,
  runBytes: usize,
  gap: usize,
  c: usize,
  cStride: usize,
  add: bool,
): void {
  tile(4, table, aOffset, b, b2, segments, runBytes, gap, c, cStride, add);
}

export function wide5(
  table: usize,
  aOffset: usize,
  b: usize,
  b2: usize,
  segments: i32,
  runBytes: usize,
  gap: usize,
  c: usize,
  cStride: usize,
  add: bool,
): void {
  tile(5, table, aOffset, b, b2, segments, runBytes, gap, c, cStride, add);
}

export function wide6(
  table: usize,
  aOffset: usize,
  b: usize,
  b2: usize,
  segments: i32,
  runBytes: usize,
  gap: usize,
  c: usize,
  cStride: usize,
  add: bool,
): void {
  tile(6, table, aOffset, b, b2, segments, runBytes, gap, c, cStride, add);
}
