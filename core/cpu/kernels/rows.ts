/**
 * Norms, softmax, reductions, top-k, gathering and pooling: arguments of the WebAssembly kernels.
 * The arithmetic is in core/cpu/assembly.
 */
import type { KernelImplementations } from "../../tensor/kernels.ts";
import { BYTES_PER_NS, type Context, tableInts, withTemporary } from "./context.ts";

/** Bytes of a block of rows that group norm passes over twice; fixed, because the order of summation depends on it. */
const NORM_BLOCK_BYTES = 128 * 1024;
/** Rows [hw, c] of such a block. */
export function normBlockRows(hw: number, c: number): number {
  return Math.max(1, Math.min(hw, Math.floor(NORM_BLOCK_BYTES / (c * 4))));
}

/** Elements that reduceRows sums at a time, as in assembly/reduce.ts. */
const REDUCE_BLOCK = 16384;

const reduceCodes = { sum: 0, mean: 1, max: 2, min: 3 } as const;

export function rowKernels(
  context: Context,
): Pick<
  KernelImplementations,
  | "groupNorm"
  | "layerNorm"
  | "l2Normalize"
  | "softmax"
  | "logSoftmaxGather"
  | "reduce"
  | "argReduce"
  | "topK"
  | "gatherRows"
  | "avgPool2d"
> {
  const { buffers, heap, pool } = context;
  return {
    groupNorm({ x, gamma, beta, out, batch, hw, c, groups, eps, activation }) {
      if (batch * hw * c === 0) return;
      if (c % groups !== 0) throw new Error(`groupNorm: ${c} channels do not split into ${groups} groups`);
      const bytes = batch * hw * c * 4;
      const X = buffers.at("groupNorm", "x", x, bytes);
      const OUT = buffers.at("groupNorm", "out", out, bytes);
      const GAMMA = buffers.at("groupNorm", "gamma", gamma, c * 4);
      const BETA = buffers.at("groupNorm", "beta", beta, c * 4);
      const rows = normBlockRows(hw, c);
      const blocks = Math.ceil(hw / rows);
      const blockBytes = rows * c * 4;
      withTemporary(context, batch * blocks * c * 16, (statistics) => {
        withTemporary(context, batch * c * 8, (factors) => {
          pool.run("groupNormBlocks", {
            units: batch * blocks,
            unitCost: 2 * blockBytes / BYTES_PER_NS,
            ints: [X, statistics, hw, c, rows, blocks],
          });
          pool.run("groupNormJoin", {
            units: batch * groups,
            unitCost: blocks * c / groups * 3,
            ints: [statistics, factors, GAMMA, hw, c, rows, blocks, groups, batch],
            floats: [eps],
          });
          pool.run("groupNormApply", {
            units: batch * blocks,
            unitCost: 2 * blockBytes / BYTES_PER_NS,
            ints: [X, OUT, factors, BETA, hw, c, rows, blocks, batch, activation === "silu" ? 1 : 0],
          });
        });
      });
    },

    layerNorm({ x, out, rows, n, eps, gamma, beta, scale, shift }) {
      if (rows * n === 0) return;
      pool.run("layerNorm", {
        units: rows,
        unitCost: 16 * n / BYTES_PER_NS,
        ints: [
          buffers.at("layerNorm", "x", x, rows * n * 4),
          buffers.at("layerNorm", "out", out, rows * n * 4),
          n,
          gamma ? buffers.at("layerNorm", "gamma", gamma, n * 4) : 0,
          beta ? buffers.at("layerNorm", "beta", beta, n * 4) : 0,
          ...tableInts(context, "layerNorm", "scale", scale, rows, n),
          ...tableInts(context, "layerNorm", "shift", shift, rows, n),
        ],
        floats: [eps],
      });
    },

    l2Normalize({ x, out, rows, n, eps }) {
      const X = buffers.at("l2Normalize", "x", x, rows * n * 4);
      const OUT = buffers.at("l2Normalize", "out", out, rows * n * 4);
      pool.run("l2Normalize", { units: rows, unitCost: 10 + n, ints: [X, OUT, n], floats: [eps] });
    },

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
        const parts = new Float64Array(heap.memory.buffer, partial, outer * blocks);
        for (let r = 0; r < outer; r++) {
          let value = parts[r * blocks];
          for (let i = r * blocks + 1; i < (r + 1) * blocks; i++) {
            if (op === "max") value = Math.max(value, parts[i]);
            else if (op === "min") value = Math.min(value, parts[i]);
            else value += parts[i];
          }
          heap.f32[OUT / 4 + r] = op === "mean" ? value / n : value;
        }
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

    topK({ x, values, indices, rows, n, k }) {
      if (k < 1 || k > n) throw new Error(`topK: k must be from 1 to the row length ${n}, got ${k}`);
      const X = buffers.at("topK", "x", x, rows * n * 4);
      const VALUES = buffers.at("topK", "values", values, rows * k * 4);
      const INDICES = buffers.at("topK", "indices", indices, rows * k * 4);
      pool.run("topK", { units: rows, unitCost: 2 * n + 20 * k * Math.log2(k + 1), ints: [X, VALUES, INDICES, n, k] });
    },

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
