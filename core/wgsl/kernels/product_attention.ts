/**
 * Attention of heads too large for registers, such as the single head of 512 or 640 of a tokenizer: two matrix products per head
 * with a masked softmax between them. All heads of as many images as `maxScoreBytes` of scores allow go at once; where one
 * image has more, blocks of its query rows.
 */
import type { Kernels, Storage } from "../../tensor/kernels.ts";
import type { Context } from "../context.ts";
import type { Program } from "../program.ts";
import { matmul } from "./matmul.ts";
import { rowGroups, rowKernel, type RowTiles, rowTilesFor } from "./row_kernel.ts";
import { stridedCopy } from "./strided_copy.ts";

const maxScoreBytes = { software: 8 * 2 ** 20, hardware: 64 * 2 ** 20 };

/**
 * x[r, j] = softmax_j(scale * x[r, j]) over the keys that query firstRow + r % queries sees, and 0 for the others. In place.
 */
function softmaxProgram(tiles: RowTiles): Program {
  return {
    kernel: "attention",
    variant: `softmax,${tiles}`,
    build: () => ({
      params: { rows: "u32", n: "u32", firstRow: "u32", queries: "u32", visibleOn: "u32", scale: "f32" },
      buffers: {
        visible: { type: "array<i32>", access: "read" },
        x: { type: "array<f32>", access: "write" },
      },
      code: rowKernel(
        tiles,
        `
  var end = p.n;
  if (p.visibleOn != 0u) { end = min(end, u32(visible[p.firstRow + r % p.queries])); }
  let base = r * p.n;
  var m = x[base];
  for (var i = first; i < end; i += step) { m = max(m, x[base + i]); }
  let top = rowMax(m);
  var sum = 0.0;
  for (var i = first; i < end; i += step) {
    let e = m_expNegative((x[base + i] - top) * p.scale);
    x[base + i] = e;
    sum += e;
  }
  let factor = 1.0 / rowSum(sum);
  for (var i = first; i < p.n; i += step) {
    var e = 0.0;
    if (i < end) { e = x[base + i] * factor; }
    x[base + i] = e;
  }`,
      ),
    }),
  };
}

/** Rows of all heads of some images, from [images, capacity, heads, headDim] to [images, heads, rows, headDim] or back. */
interface HeadRows {
  readonly x: Storage;
  readonly capacity: number;
  /** The first image and row. */
  readonly image: number;
  readonly row: number;
}

/** `most` bytes of scores. */
export function attentionByProducts(
  gpu: Context,
  args: Kernels["attention"],
  most = maxScoreBytes[gpu.tiles],
): void {
  const { q, k, v, out, visible, batch, heads, headDim, lq, lk, kvCapacity, scale } = args;
  const tiles = rowTilesFor(gpu, lk);
  const width = heads * headDim;
  const rows = Math.max(1, Math.min(lq, Math.floor(most / (4 * heads * lk))));
  const images = rows < lq ? 1 : Math.max(1, Math.min(batch, Math.floor(most / (4 * heads * lq * lk))));
  // One head of all images lies as the products want it.
  const isDirect = heads === 1 && kvCapacity === lk && images === batch && rows === lq;
  const copy = ({ x, capacity, image, row }: HeadRows, byHead: Storage, [images, rows]: number[], back = false) => {
    const strided = { strides: [capacity * width, headDim, width, 1], offset: (image * capacity + row) * width };
    const plain = { strides: [heads * rows * headDim, rows * headDim, headDim, 1], offset: 0 };
    const [from, to] = back ? [plain, strided] : [strided, plain];
    stridedCopy(gpu, {
      ...{ x: back ? byHead : x, out: back ? x : byHead, shape: [images, heads, rows, headDim] },
      ...{ xStrides: from.strides, xOffset: from.offset, outStrides: to.strides, outOffset: to.offset },
    });
  };
  const space = (n: number) => gpu.scratch(images * heads * n * 4);
  const scores = space(rows * lk);
  const [queries, result] = isDirect ? [q, out] : [space(rows * headDim), space(rows * headDim)];
  const [keys, values] = isDirect ? [k, v] : [space(lk * headDim), space(lk * headDim)];
  const product = (a: Storage, b: Storage, to: Storage, [entries, m, n, kk]: number[], transB: boolean) =>
    matmul(gpu, {
      ...{ a, b, out: to, batch: entries, m, n, k: kk, aBatchStride: m * kk, bBatchStride: n * kk, transA: false },
      ...{ transB, packed: false, bType: "f32", epilogue: { activation: "none" } },
    });
  for (let image = 0; image < batch; image += images) {
    const many = Math.min(images, batch - image);
    if (!isDirect) {
      copy({ x: k, capacity: kvCapacity, image, row: 0 }, keys, [many, lk]);
      copy({ x: v, capacity: kvCapacity, image, row: 0 }, values, [many, lk]);
    }
    for (let row = 0; row < lq; row += rows) {
      const block = Math.min(rows, lq - row), entries = many * heads;
      if (!isDirect) copy({ x: q, capacity: lq, image, row }, queries, [many, block]);
      product(queries, keys, scores, [entries, block, lk, headDim], true);
      gpu.dispatch(
        softmaxProgram(tiles),
        { visible: visible ?? gpu.empty, x: scores },
        { rows: entries * block, n: lk, firstRow: row, queries: block, visibleOn: visible ? 1 : 0, scale },
        rowGroups(tiles, entries * block),
      );
      product(scores, values, result, [entries, block, headDim, lk], false);
      if (!isDirect) copy({ x: out, capacity: lq, image, row }, result, [many, block], true);
    }
  }
  gpu.free(scores);
  if (!isDirect) { for (const storage of [queries, result, keys, values]) gpu.free(storage); }
}
