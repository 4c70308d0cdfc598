/**
 * attention and nearestCode: packing of what is multiplied with, block sizes, arguments.
 * The arithmetic is in core/cpu/assembly.
 */
import type { KernelImplementations } from "../../tensor/kernels.ts";
import { type Context, evenBlock, FLOPS_PER_NS, withTemporary } from "./context.ts";
import { packedElements, packPlain } from "./matmul.ts";

/** Queries per block: their scores of 680 keys take 261 KiB, which stays in the second-level cache. */
const QUERIES = 96;
/** Rows per block of nearestCode: 256 channels of them and a panel of codes stay in the second-level cache. */
const ROWS = 48;

export function attentionKernels(context: Context): Pick<KernelImplementations, "attention" | "nearestCode"> {
  const { buffers, heap, pool } = context;
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
        const one = { outer: 1, outerBytes: 0, inner: 1, innerBytes: 0 };
        packPlain(context, { from: book, to: packed, n: codes, k: c, transposed: true, rowBytes: c * 4, ...one });
        pool.run("squaredNorms", { units: codes, unitCost: c, ints: [book, norms, c] });
        heap.f32.fill(Infinity, norms / 4 + codes, norms / 4 + panels * 8);
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
