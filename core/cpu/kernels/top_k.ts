/**
 * The k largest elements of each row: arguments of the WebAssembly kernel in core/cpu/assembly/top_k.ts.
 */
import type { KernelImplementations } from "../../tensor/kernels.ts";
import type { Context } from "./context.ts";

/** Counts of the digits that elements are sorted by. */
const digitBytes = 4 * 256 * 4;

export function topKKernels(
  context: Context,
): Pick<KernelImplementations, "topK"> {
  const { buffers, pool } = context;
  return {
    topK({ x, values, indices, rows, n, k }) {
      if (k < 1 || k > n) throw new Error(`topK: k must be from 1 to the row length ${n}, got ${k}`);
      const X = buffers.at("topK", "x", x, rows * n * 4);
      const VALUES = buffers.at("topK", "values", values, rows * k * 4);
      const INDICES = buffers.at("topK", "indices", indices, rows * k * 4);
      const selects = k >= 16; // as assembly/top_k.ts has it
      pool.run("topK", {
        units: rows,
        unitCost: selects ? 4 * n + 8 * k : 2 * n + 20 * k * Math.log2(k + 1),
        ints: [X, VALUES, INDICES, n, k],
        scratch: selects ? 16 * Math.ceil(n / 4) + 16 * k + digitBytes : 0,
      });
    },
  };
}
