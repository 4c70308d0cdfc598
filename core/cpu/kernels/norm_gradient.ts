/**
 * Gradients of group norm and layer norm: arguments of the WebAssembly kernels.
 * The arithmetic is in core/cpu/assembly/norm_gradient.ts.
 */
import type { KernelImplementations } from "../../tensor/kernels.ts";
import { BYTES_PER_NS, type Context, tableInts, withTemporary } from "./context.ts";
import { normBlockRows } from "./norm.ts";

/** Rows of layer norm that are summed together. It is fixed because the order of summation depends on it. */
const LAYER_ROWS = 64;

/** out[channel] = the sum over images of sums[image, 0 or 1, channel], whose rows have whole fours of channels. */
function sumImages(sums: Float64Array, out: Float32Array, images: number, offset: number): void {
  const padded = Math.ceil(out.length / 4) * 4;
  for (let channel = 0; channel < out.length; channel++) {
    let sum = 0;
    for (let image = 0; image < images; image++) sum += sums[2 * image * padded + offset + channel];
    out[channel] = sum;
  }
}

export function normGradientKernels(
  context: Context,
): Pick<KernelImplementations, "groupNormGradient" | "layerNormGradient"> {
  const { buffers, heap, pool } = context;
  return {
    groupNormGradient({ x, gamma, beta, upstream, dx, dGamma, dBeta, batch, hw, c, groups, eps, activation }) {
      if (c % groups !== 0) throw new Error(`groupNormGradient: ${c} channels do not split into ${groups} groups`);
      const kernel = "groupNormGradient";
      const bytes = batch * hw * c * 4;
      const X = buffers.at(kernel, "x", x, bytes);
      const UPSTREAM = buffers.at(kernel, "upstream", upstream, bytes);
      const GAMMA = buffers.at(kernel, "gamma", gamma, c * 4);
      const BETA = buffers.at(kernel, "beta", beta, c * 4);
      const DX = dx ? buffers.at(kernel, "dx", dx, bytes) : 0;
      const D_GAMMA = dGamma ? buffers.at(kernel, "dGamma", dGamma, c * 4) : 0;
      const D_BETA = dBeta ? buffers.at(kernel, "dBeta", dBeta, c * 4) : 0;
      const silu = activation === "silu";
      const rows = normBlockRows(hw, c);
      const blocks = Math.ceil(hw / rows);
      const units = batch * blocks;
      const blockBytes = rows * c * 4;
      const padded = Math.ceil(c / 4) * 4;
      // Per block: statistics of x, later overwritten by sums of the gradient.
      withTemporary(context, units * padded * 16, (parts) => {
        withTemporary(context, batch * (padded * 16 + c * 20), (totals) => {
          const moments = totals + batch * padded * 16; // mean and 1 / deviation
          const factors = moments + batch * c * 8;
          if (units * c > 0) {
            const unitCost = 2 * blockBytes / BYTES_PER_NS;
            pool.run("groupNormBlocks", { units, unitCost, ints: [X, parts, hw, c, rows, blocks] });
            pool.run("groupNormJoin", {
              units: batch * groups,
              unitCost: blocks * c / groups * 3,
              ints: [parts, moments, 0, hw, c, rows, blocks, groups, batch],
              floats: [eps],
            });
            pool.run("groupNormGradientSums", {
              units,
              unitCost: rows * c * (silu ? 1.5 : 1),
              ints: [
                ...[X, UPSTREAM, silu ? DX : 0, parts, moments, GAMMA, BETA],
                ...[hw, c, rows, blocks, batch, silu ? 1 : 0],
              ],
              scratch: padded * 8,
            });
            pool.run("groupNormGradientJoin", {
              units: batch * groups,
              unitCost: blocks * c / groups * 3,
              ints: [parts, totals, factors, moments + batch * c * 4, GAMMA, hw, c, blocks, groups, batch],
            });
            if (DX !== 0) {
              pool.run("groupNormGradientApply", {
                units,
                unitCost: 3 * blockBytes / BYTES_PER_NS,
                ints: [X, silu ? DX : UPSTREAM, DX, moments, factors, hw, c, rows, blocks, batch],
              });
            }
          }
          const sums = new Float64Array(heap.buffer, totals, batch * padded * 2);
          const images = hw > 0 ? batch : 0;
          if (D_BETA !== 0) sumImages(sums, heap.f32.subarray(D_BETA / 4, D_BETA / 4 + c), images, 0);
          if (D_GAMMA !== 0) sumImages(sums, heap.f32.subarray(D_GAMMA / 4, D_GAMMA / 4 + c), images, padded);
        });
      });
    },

    layerNormGradient(args) {
      const kernel = "layerNormGradient";
      const { rows, n, eps, gamma, beta, scale, dx, dScale, dGamma, dBeta } = args;
      const bytes = rows * n * 4;
      const units = Math.ceil(rows / LAYER_ROWS);
      const run = (sums: number) =>
        pool.run("layerNormGradient", {
          units,
          unitCost: LAYER_ROWS * (20 + n * 2),
          ints: [
            buffers.at(kernel, "x", args.x, bytes),
            buffers.at(kernel, "upstream", args.upstream, bytes),
            dx ? buffers.at(kernel, "dx", dx, bytes) : 0,
            dScale ? buffers.at(kernel, "dScale", dScale, bytes) : 0,
            ...[sums, rows, n, LAYER_ROWS],
            gamma ? buffers.at(kernel, "gamma", gamma, n * 4) : 0,
            beta ? buffers.at(kernel, "beta", beta, n * 4) : 0,
            ...tableInts(context, kernel, "scale", scale, rows, n),
          ],
          floats: [eps],
          scratch: Math.ceil(n / 4) * 32,
        });
      if (!dGamma && !dBeta) {
        run(0);
        return;
      }
      const D_GAMMA = dGamma ? buffers.at(kernel, "dGamma", dGamma, n * 4) : 0;
      const D_BETA = dBeta ? buffers.at(kernel, "dBeta", dBeta, n * 4) : 0;
      withTemporary(context, (units + 1) * n * 8, (sums) => {
        run(sums);
        const totals = sums + units * n * 8;
        const strips = Math.ceil(2 * n / 16);
        const unitCost = units * 64 / BYTES_PER_NS;
        pool.run("reduceColumns", { units: strips, unitCost, ints: [sums, totals, units, 0, 2 * n, strips] });
        if (D_GAMMA) heap.f32.copyWithin(D_GAMMA / 4, totals / 4, totals / 4 + n);
        if (D_BETA) heap.f32.copyWithin(D_BETA / 4, totals / 4 + n, totals / 4 + 2 * n);
      });
    },
  };
}
