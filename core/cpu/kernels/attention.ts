/**
 * Attention: packing of keys and values, block sizes, arguments of the WebAssembly kernel.
 * The arithmetic is in core/cpu/assembly/attention.ts.
 */
import type { KernelImplementations } from "../../tensor/kernels.ts";
import { type Context, evenBlock, FLOPS_PER_NS, withTemporary } from "./context.ts";
import { packedElements, packPlain } from "./pack.ts";

/** Queries per block: their scores of 680 keys take 261 KiB, which stays in the second-level cache. */
const QUERIES = 96;

export function attentionKernels(context: Context): Pick<KernelImplementations, "attention"> {
  const { buffers, pool } = context;
  return {
    attention({ q, k, v, out, visible, batch, heads, headDim, lq, lk, kvCapacity, scale }) {
      if (batch * lq * heads * headDim === 0) return;
      if (lk < 1 || lk > kvCapacity) {
        throw new Error(`attention: lk must be from 1 to the key capacity ${kvCapacity}, got ${lk}`);
      }
      const queryBytes = batch * lq * heads * headDim * 4;
      const keyBytes = ((batch - 1) * kvCapacity + lk) * heads * headDim * 4;
      const addresses = {
        q: buffers.at("attention", "q", q, queryBytes),
        k: buffers.at("attention", "k", k, keyBytes),
        v: buffers.at("attention", "v", v, keyBytes),
        out: buffers.at("attention", "out", out, queryBytes),
        visible: visible ? buffers.at("attention", "visible", visible, lq * 4) : 0,
      };
      const entries = batch * heads;
      const keyPanels = entries * packedElements(lk, headDim) * 4;
      const valuePanels = entries * packedElements(headDim, lk) * 4;
      withTemporary(context, keyPanels + valuePanels, (keys) => {
        const values = keys + keyPanels;
        const split = {
          ...{ rowBytes: heads * headDim * 4, outer: batch, outerBytes: kvCapacity * heads * headDim * 4 },
          ...{ inner: heads, innerBytes: headDim * 4 },
        };
        packPlain(context, { from: addresses.k, to: keys, n: lk, k: headDim, transposed: true, ...split });
        packPlain(context, { from: addresses.v, to: values, n: headDim, k: lk, transposed: false, ...split });
        // Few heads are cut finer, so that every thread gets some.
        const rows = evenBlock(lq, entries >= 8 ? QUERIES : QUERIES / 2, 6);
        const blocks = Math.ceil(lq / rows);
        const table = Math.ceil(rows / 16) * 16 * 4;
        pool.run("attention", {
          units: entries * blocks,
          unitCost: rows * lk * (4 * headDim / FLOPS_PER_NS + 2),
          ints: [
            ...[addresses.q, keys, values, addresses.out, addresses.visible, heads, headDim, lq, lk, rows, blocks],
          ],
          floats: [scale],
          scratch: 2 * table + (rows + 1) * 32 + rows * Math.ceil(lk / 8) * 32,
        });
      });
    },
  };
}
