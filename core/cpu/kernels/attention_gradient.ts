/**
 * Gradients of attention: block size and arguments of the WebAssembly kernel.
 * The arithmetic is in core/cpu/assembly/attention_gradient.ts.
 */
import type { KernelImplementations } from "../../tensor/kernels.ts";
import { type Context, evenBlock, FLOPS_PER_NS } from "./context.ts";

/** Most queries per block: three matrices of so many scores of 680 keys stay in the second-level cache. */
const QUERIES = 72;

export function attentionGradientKernels(context: Context): Pick<KernelImplementations, "attentionGradient"> {
  const { buffers, pool } = context;
  return {
    attentionGradient(args) {
      const kernel = "attentionGradient";
      const { q, k, v, upstream, dq, dk, dv, visible, batch, heads, headDim, lq, lk, kvCapacity, scale } = args;
      if (batch * heads * headDim === 0) return;
      if (lk < 1 || lk > kvCapacity) {
        throw new Error(`${kernel}: lk must be from 1 to the key capacity ${kvCapacity}, got ${lk}`);
      }
      const queryBytes = batch * lq * heads * headDim * 4;
      const keyBytes = batch * kvCapacity * heads * headDim * 4;
      const rows = evenBlock(Math.max(lq, 1), QUERIES, 12);
      const w = Math.ceil(lk / 8) * 8, e = Math.ceil(headDim / 8) * 8;
      pool.run("attentionGradient", {
        units: batch * heads,
        unitCost: lq * lk * (10 * headDim / FLOPS_PER_NS + 3) + (lq + lk) * headDim,
        ints: [
          buffers.at(kernel, "q", q, queryBytes),
          buffers.at(kernel, "k", k, keyBytes),
          buffers.at(kernel, "v", v, keyBytes),
          buffers.at(kernel, "upstream", upstream, queryBytes),
          dq ? buffers.at(kernel, "dq", dq, queryBytes) : 0,
          dk ? buffers.at(kernel, "dk", dk, keyBytes) : 0,
          dv ? buffers.at(kernel, "dv", dv, keyBytes) : 0,
          visible ? buffers.at(kernel, "visible", visible, lq * 4) : 0,
          ...[heads, headDim, lq, lk, kvCapacity, rows],
        ],
        floats: [scale],
        scratch: 4 * (Math.max(rows, w) + 16 + 8 * rows + 16 * w + 2 * w * headDim + e * lk + 3 * rows * w + e * rows),
      });
    },
  };
}
