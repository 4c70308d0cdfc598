/**
 * Group norm, layer norm and l2 normalisation: arguments of the WebAssembly kernels.
 * The arithmetic is in core/cpu/assembly/norm.ts, gradients are in norm_gradient.ts.
 */
import type { KernelImplementations } from "../../tensor/kernels.ts";
import { BYTES_PER_NS, type Context, tableInts, withTemporary } from "./context.ts";

/** Size of a block of rows, which group norm reads twice. It is fixed because the order of summation depends on it. */
const NORM_BLOCK_BYTES = 128 * 1024;

/** Number of rows of x[hw, c] in such a block. */
export function normBlockRows(hw: number, c: number): number {
  return Math.max(1, Math.min(hw, Math.floor(NORM_BLOCK_BYTES / (c * 4))));
}

export function normKernels(
  context: Context,
): Pick<KernelImplementations, "groupNorm" | "layerNorm" | "l2Normalize"> {
  const { buffers, pool } = context;
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
  };
}
