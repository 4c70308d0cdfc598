/**
 * Softmax, log-softmax, and the log-softmax of one element per row: arguments of the WebAssembly kernels.
 * The arithmetic is in core/cpu/assembly/softmax.ts.
 */
import type { KernelImplementations } from "../../tensor/kernels.ts";
import type { Context } from "./context.ts";

export function softmaxKernels(
  context: Context,
): Pick<KernelImplementations, "softmax" | "logSoftmaxGather"> {
  const { buffers, pool } = context;
  return {
    softmax({ x, out, rows, n, log }) {
      const X = buffers.at("softmax", "x", x, rows * n * 4);
      const OUT = buffers.at("softmax", "out", out, rows * n * 4);
      pool.run("softmax", { units: rows, unitCost: 20 + 2 * n, ints: [X, OUT, n, log ? 1 : 0] });
    },

    logSoftmaxGather({ x, index, out, rows, n }) {
      const X = buffers.at("logSoftmaxGather", "x", x, rows * n * 4);
      const INDEX = buffers.at("logSoftmaxGather", "index", index, rows * 4);
      const OUT = buffers.at("logSoftmaxGather", "out", out, rows * 4);
      pool.run("logSoftmaxGather", { units: rows, unitCost: 20 + 2 * n, ints: [X, INDEX, OUT, n] });
    },
  };
}
