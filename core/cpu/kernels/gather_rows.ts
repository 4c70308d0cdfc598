/**
 * Rows of a table by index: arguments of the WebAssembly kernel in core/cpu/assembly/gather_rows.ts.
 */
import type { KernelImplementations } from "../../tensor/kernels.ts";
import { BYTES_PER_NS, type Context } from "./context.ts";

export function gatherRowsKernels(
  context: Context,
): Pick<KernelImplementations, "gatherRows"> {
  const { buffers, pool } = context;
  return {
    gatherRows({ x, index, out, rows, rowsX, n, xType }) {
      if (rows === 0) return;
      if (rowsX < 1) throw new Error("gatherRows: there are no rows to take");
      const halves = xType === "f16";
      const X = buffers.at("gatherRows", "x", x, rowsX * n * (halves ? 2 : 4));
      const INDEX = buffers.at("gatherRows", "index", index, rows * 4);
      const OUT = buffers.at("gatherRows", "out", out, rows * n * 4);
      pool.run("gatherRows", {
        units: rows,
        unitCost: 10 + n * 8 / BYTES_PER_NS,
        ints: [X, INDEX, OUT, rowsX, n, halves ? 1 : 0],
      });
    },
  };
}
