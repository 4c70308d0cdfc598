/**
 * Gradients of attention by matrix products per head. The scores of all heads are stored, twice: it is for training
 * sizes.
 */
import type { Kernels, Storage } from "../../tensor/kernels.ts";
import type { Context } from "../context.ts";
import type { Program } from "../program.ts";
import { fill } from "./fill.ts";
import { matmul } from "./matmul.ts";
import { rowGroups, rowKernel, type RowTiles, rowTilesFor } from "./row_kernel.ts";
import { stridedCopy } from "./strided_copy.ts";

/**
 * Per row, of which query r % lq sees the first keys: scores[r, :] becomes p = softmax(scale * scores), zero for the
 * others, and products[r, :] becomes p (products - sum(p products)) * scale.
 */
function program(tiles: RowTiles): Program {
  return {
    kernel: "attentionGradient",
    variant: tiles,
    build: () => ({
      params: { rows: "u32", n: "u32", queries: "u32", visibleOn: "u32", scale: "f32" },
      buffers: {
        visible: { type: "array<i32>", access: "read" },
        scores: { type: "array<f32>", access: "write" },
        products: { type: "array<f32>", access: "write" },
      },
      code: rowKernel(
        tiles,
        `
  var end = p.n;
  if (p.visibleOn != 0u) { end = min(end, u32(visible[r % p.queries])); }
  let base = r * p.n;
  var m = scores[base] * p.scale;
  for (var i = first; i < end; i += step) { m = max(m, scores[base + i] * p.scale); }
  let top = rowMax(m);
  var sum = 0.0;
  var product = 0.0;
  for (var i = first; i < end; i += step) {
    let e = m_expNegative(min(scores[base + i] * p.scale - top, 0.0));
    scores[base + i] = e;
    sum += e;
    product += e * products[base + i];
  }
  let factor = 1.0 / rowSum(sum);
  let mean = rowSum(product) * factor;
  for (var i = first; i < p.n; i += step) {
    var e = 0.0;
    if (i < end) { e = scores[base + i] * factor; }
    scores[base + i] = e;
    products[base + i] = select(0.0, e * (products[base + i] - mean) * p.scale, i < end);
  }`,
      ),
    }),
  };
}

export function attentionGradient(gpu: Context, args: Kernels["attentionGradient"]): void {
  const { q, k, v, upstream, dq, dk, dv, visible, batch, heads, headDim, lq, lk, kvCapacity, scale } = args;
  const entries = batch * heads;
  if (entries * headDim === 0) return;
  const made: Storage[] = [];
  const space = (n: number) => {
    made.push(gpu.scratch(n * 4));
    return made[made.length - 1];
  };
  /** Strides over [batch, heads, rows, headDim] of a tensor [batch, capacity, heads, headDim]. */
  const strides = (capacity: number) => [capacity * heads * headDim, headDim, heads * headDim, 1];
  const headStrides = (rows: number) => [heads * rows * headDim, rows * headDim, headDim, 1];
  const byHead = (x: Storage, rows: number, capacity: number) => {
    const out = space(entries * rows * headDim);
    stridedCopy(gpu, {
      ...{ x, out, shape: [batch, heads, rows, headDim], xStrides: strides(capacity), xOffset: 0 },
      ...{ outStrides: headStrides(rows), outOffset: 0 },
    });
    return out;
  };
  const product = (a: Storage, b: Storage, [m, n, kk]: readonly number[], transA: boolean, transB: boolean) => {
    const out = space(entries * m * n);
    matmul(gpu, {
      ...{ a, b, out, batch: entries, m, n, k: kk, aBatchStride: m * kk, bBatchStride: n * kk, transA, transB },
      ...{ packed: false, bType: "f32", epilogue: { activation: "none" } },
    });
    return out;
  };
  const back = (x: Storage, out: Storage, rows: number, capacity: number) => {
    if (rows < capacity) fill(gpu, { out, n: batch * capacity * heads * headDim, value: 0, dtype: "f32" });
    stridedCopy(gpu, {
      ...{ x, out, shape: [batch, heads, rows, headDim], xStrides: headStrides(rows), xOffset: 0 },
      ...{ outStrides: strides(capacity), outOffset: 0 },
    });
  };
  if (lq === 0) {
    for (const out of [dk, dv]) {
      if (out) fill(gpu, { out, n: batch * kvCapacity * heads * headDim, value: 0, dtype: "f32" });
    }
  } else {
    const [queries, up] = [q, upstream].map((x) => byHead(x, lq, lq));
    const [keys, values] = [k, v].map((x) => byHead(x, lk, kvCapacity));
    const scores = product(queries, keys, [lq, lk, headDim], false, true);
    const products = product(up, values, [lq, lk, headDim], false, true);
    const rows = entries * lq;
    const tiles = rowTilesFor(gpu, lk);
    gpu.dispatch(
      program(tiles),
      { visible: visible ?? gpu.empty, scores, products },
      { rows, n: lk, queries: lq, visibleOn: visible ? 1 : 0, scale },
      rowGroups(tiles, rows),
    );
    if (dq) back(product(products, keys, [lq, headDim, lk], false, false), dq, lq, lq);
    if (dk) back(product(products, queries, [lk, headDim, lq], true, false), dk, lk, kvCapacity);
    if (dv) back(product(scores, up, [lk, headDim, lq], true, false), dv, lk, kvCapacity);
  }
  for (const storage of made) gpu.free(storage);
}
