/**
 * The nearest code of each row: packing of the codebook, block size, arguments of the WebAssembly kernel.
 * The arithmetic is in core/cpu/assembly/nearest_code.ts.
 */
import type { KernelImplementations } from "../../tensor/kernels.ts";
import { type Context, evenBlock, FLOPS_PER_NS, withTemporary } from "./context.ts";
import { packedElements, packPlain } from "./pack.ts";

/** Rows per block: 256 channels of them and a panel of codes stay in the second-level cache. */
const ROWS = 48;

export function nearestCodeKernels(context: Context): Pick<KernelImplementations, "nearestCode"> {
  const { buffers, pool } = context;
  return {
    nearestCode({ x, codebook, out, rows, codes, c }) {
      if (rows === 0) return;
      if (codes < 1 || c < 1) throw new Error(`nearestCode: the codebook is empty: [${codes}, ${c}]`);
      const from = buffers.at("nearestCode", "x", x, rows * c * 4);
      const book = buffers.at("nearestCode", "codebook", codebook, codes * c * 4);
      const to = buffers.at("nearestCode", "out", out, rows * 4);
      const panels = Math.ceil(codes / 8);
      const panelBytes = packedElements(codes, c) * 4;
      withTemporary(context, panelBytes + panels * 32, (packed) => {
        const norms = packed + panelBytes;
        packPlain(context, { from: book, to: packed, n: codes, k: c, transposed: true, rowBytes: c * 4 });
        pool.run("squaredNorms", { units: codes, unitCost: c, ints: [book, norms, c] });
        const rest = panels * 8 - codes;
        pool.run("fill", { units: Math.ceil(rest / 4096), unitCost: 8, ints: [norms + 4 * codes, rest, 0x7f800000] });
        const blockRows = evenBlock(rows, ROWS, 6);
        pool.run("nearestCode", {
          units: Math.ceil(rows / blockRows),
          unitCost: blockRows * codes * (2 * c / FLOPS_PER_NS + 1),
          ints: [from, packed, norms, to, rows, codes, c, blockRows],
          scratch: Math.ceil(blockRows / 16) * 16 * 4 + 3 * blockRows * 32,
        });
      });
    },
  };
}
