/**
 * Reductions along an axis and average pooling: arguments of the WebAssembly kernels.
 * The arithmetic is in core/cpu/assembly/reduce.ts.
 */
import type { KernelImplementations } from "../../tensor/kernels.ts";
import { BYTES_PER_NS, type Context, withTemporary } from "./context.ts";

/** Elements that reduceRows sums at a time, as in assembly/reduce.ts. */
const REDUCE_BLOCK = 16384;

const reduceCodes = { sum: 0, mean: 1, max: 2, min: 3 } as const;

export function reduceKernels(
  context: Context,
): Pick<KernelImplementations, "reduce" | "argReduce" | "avgPool2d"> {
  const { buffers, pool } = context;
  return {
    reduce({ op, x, out, outer, n, inner }) {
      const X = buffers.at("reduce", "x", x, outer * n * inner * 4);
      const OUT = buffers.at("reduce", "out", out, outer * inner * 4);
      if (inner > 1) {
        const strips = Math.ceil(inner / 16);
        pool.run("reduceColumns", {
          units: outer * strips,
          unitCost: n * 64 / BYTES_PER_NS,
          ints: [X, OUT, n, reduceCodes[op], inner, strips],
        });
        return;
      }
      const blocks = Math.max(1, Math.ceil(n / REDUCE_BLOCK));
      withTemporary(context, outer * blocks * 8, (partial) => {
        pool.run("reduceRows", {
          units: outer * blocks,
          unitCost: 5 + Math.min(n, REDUCE_BLOCK) * 4 / BYTES_PER_NS,
          ints: [X, partial, n, op === "mean" ? 0 : reduceCodes[op], blocks],
        });
        pool.run("joinBlocks", {
          units: Math.ceil(outer / 64),
          unitCost: 64 * (2 + blocks),
          ints: [partial, OUT, outer, blocks, reduceCodes[op], n],
        });
      });
    },

    argReduce({ op, x, out, outer, n, inner }) {
      const X = buffers.at("argReduce", "x", x, outer * n * inner * 4);
      const OUT = buffers.at("argReduce", "out", out, outer * inner * 4);
      pool.run("argReduce", {
        units: outer * inner,
        unitCost: 5 + n * (inner === 1 ? 0.5 : 2),
        ints: [X, OUT, n, inner, op === "argmin" ? 1 : 0],
      });
    },

    avgPool2d({ x, out, batch, h, w, c, k }) {
      const outH = Math.floor(h / k), outW = Math.floor(w / k);
      const X = buffers.at("avgPool2d", "x", x, batch * h * w * c * 4);
      const OUT = buffers.at("avgPool2d", "out", out, batch * outH * outW * c * 4);
      pool.run("avgPool2d", {
        units: outW === 0 ? 0 : batch * outH,
        unitCost: outW * k * k * c,
        ints: [X, OUT, h, w, c, k],
      });
    },
  };
}
