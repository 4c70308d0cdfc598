// AssemblyScript, which the type checker does not know and the formatter breaks (it drops decorators).
// @ts-nocheck
// deno-fmt-ignore-file
/**
 * Matrix product with B in packed panels: one unit is a block of rows times a block of panels of one batch entry. And
 * the product over a long K of two matrices given as [k, ...], as in the gradients of weights: one unit is a part of K.
 */
import { int, ptr } from "./args.ts";
import { block, epilogue, flushStrip } from "./block.ts";
import { packPanel, transposeBlock } from "./pack.ts";

/** Length of a run of K: a panel of it (32 KiB) stays in the first-level cache while the rows pass by. */
const K_BLOCK: i32 = 1024;

/**
 * ints: 0 a, 1 b, 2 out, 3 m, 4 n, 5 k, 6 bytes between batches of a, 7 of b, 8 rows per block, 9 blocks of rows,
 * 10 panels per block, 11 blocks of panels, 12 b is halves, 13 bytes between rows of a, 14.. epilogue.
 * scratch: address table (rows per block), strip [rows per block, 8], expanded panels [PANELS, 1024, 8].
 */
export function matmul(args: usize, begin: i32, end: i32, scratch: usize): void {
  const m = int(args, 3), n = int(args, 4), k = int(args, 5);
  const blockRows = int(args, 8), mBlocks = int(args, 9), blockPanels = int(args, 10), nBlocks = int(args, 11);
  const halves = int(args, 12) != 0;
  const aStride = ptr(args, 13);
  const shift = halves ? 1 : 2;
  const panelBytes = <usize> k << 3 << shift;
  const cStride = <usize> n << 2;
  const strip = scratch + (<usize> (blockRows + 15 & ~15) << 2);
  const expanded = strip + (<usize> (blockRows + 1) << 5);
  for (let unit = begin; unit < end; unit++) {
    const z = unit / (mBlocks * nBlocks);
    const rest = unit % (mBlocks * nBlocks);
    const i0 = rest / nBlocks * blockRows;
    const j0 = (rest % nBlocks) * blockPanels * 8;
    const rows = min(blockRows, m - i0);
    const columns = min(blockPanels * 8, n - j0);
    const a = ptr(args, 0) + <usize> z * ptr(args, 6) + <usize> i0 * aStride;
    const b = ptr(args, 1) + <usize> z * ptr(args, 7) + <usize> (j0 >> 3) * panelBytes;
    const c = ptr(args, 2) + (<usize> (z * m + i0) * n + j0 << 2);
    for (let i = 0; i < rows; i++) store<u32>(scratch + (<usize> i << 2), <u32> (a + <usize> i * aStride));
    for (let k0 = 0; k0 < k; k0 += K_BLOCK) {
      const kc = min(K_BLOCK, k - k0);
      const from = b + (<usize> k0 << 3 << shift);
      block(
        scratch,
        rows,
        <usize> k0 << 2,
        1,
        <usize> kc << 2,
        0,
        from,
        panelBytes,
        halves,
        expanded,
        columns,
        c,
        cStride,
        strip,
        k0 > 0,
      );
    }
    flushStrip(rows, columns, c, cStride, strip);
    epilogue(args, 14, c, cStride, z * m + i0, rows, j0, columns, n);
  }
}

/** Rows of A and B that are re-laid at a time by matmulOuter. */
const OUTER_BLOCK: i32 = 512;
/** Bytes between rows of a re-laid A: beyond a power of two, so that the rows of a tile do not share cache sets. */
const OUTER_STRIDE: usize = OUTER_BLOCK * 4 + 64;

/**
 * out[part, m, n] = the sum of a[l, m] b[l, n] over the rows l of that part of K. Nothing is packed in advance: a unit
 * re-lays what it reads in pieces that stay in cache. One unit is one part times one block of rows of the result.
 * ints: 0 a[k, m], 1 b[k, n], 2 out, 3 m, 4 n, 5 k, 6 rows of a and b per part, 7 rows of the result per block,
 * 8 blocks of rows. scratch: address table, strip [rows per block, 8], panel [512, 8], re-laid a.
 */
export function matmulOuter(args: usize, begin: i32, end: i32, scratch: usize): void {
  const m = int(args, 3), n = int(args, 4), k = int(args, 5);
  const partRows = int(args, 6), blockRows = int(args, 7), mBlocks = int(args, 8);
  const aRow = <usize> m << 2, bRow = <usize> n << 2;
  const strip = scratch + (<usize> (blockRows + 15 & ~15) << 2);
  const panel = strip + (<usize> (blockRows + 1) << 5);
  const turned = panel + (<usize> OUTER_BLOCK << 5);
  for (let i = 0; i < blockRows; i++) store<u32>(scratch + (<usize> i << 2), <u32> (turned + <usize> i * OUTER_STRIDE));
  for (let unit = begin; unit < end; unit++) {
    const part = unit / mBlocks;
    const i0 = unit % mBlocks * blockRows;
    const rows = min(blockRows, m - i0);
    const l1 = min(part * partRows + partRows, k);
    const c = ptr(args, 2) + (<usize> (part * m + i0) * n << 2);
    for (let l0 = part * partRows; l0 < l1; l0 += OUTER_BLOCK) {
      const kc = min(OUTER_BLOCK, l1 - l0);
      transposeBlock(ptr(args, 0) + <usize> l0 * aRow + (<usize> i0 << 2), aRow, kc, rows, turned, OUTER_STRIDE);
      const b = ptr(args, 1) + <usize> l0 * bRow;
      for (let j = 0; j < n; j += 8) {
        const columns = min(8, n - j);
        packPanel(b + (<usize> j << 2), bRow, kc, columns, panel);
        const to = c + (<usize> j << 2);
        const add = l0 > part * partRows;
        block(scratch, rows, 0, 1, <usize> kc << 2, 0, panel, 0, false, 0, columns, to, bRow, strip, add);
      }
    }
    flushStrip(rows, n, c, bRow, strip);
  }
}
