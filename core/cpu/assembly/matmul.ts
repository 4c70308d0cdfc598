// AssemblyScript, which the type checker does not know and the formatter breaks (it drops decorators).
// @ts-nocheck
// deno-fmt-ignore-file
/**
 * Matrix product with B in packed panels. One unit is a block of rows times a block of panels of one batch entry.
 */
import { int, ptr } from "./args.ts";
import { block, epilogue, flushStrip } from "./block.ts";

/** Length of a run of K: a panel of it (32 KiB) stays in the first-level cache while the rows pass by. */
const K_BLOCK: i32 = 1024;

/**
 * ints: 0 a, 1 b, 2 out, 3 m, 4 n, 5 k, 6 bytes between batches of a, 7 of b, 8 rows per block, 9 blocks of rows,
 * 10 panels per block, 11 blocks of panels, 12 b is halves, 13 bytes between rows of a, 14.. epilogue.
 * scratch: address table (rows per block), strip [rows per block, 8], expanded panel [1024, 8].
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
