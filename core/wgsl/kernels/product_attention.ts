/**
 * Attention of heads too large for registers, such as the single head of 512 or 640 of a tokenizer: per head, two
 * matrix products over blocks of query rows with a masked softmax between them. Memory for scores is at most
 * `maxScoreBytes`.
 */
import type { Kernels, Storage } from "../../tensor/kernels.ts";
import type { Context } from "../context.ts";
import type { Program } from "../program.ts";
import { matmul } from "./matmul.ts";
import { rowGroups, rowKernel, type RowTiles, rowTilesFor } from "./row_kernel.ts";
import { stridedCopy } from "./strided_copy.ts";

const maxScoreBytes = 8 * 2 ** 20;

/** x[r, j] = softmax_j(scale * x[r, j]) over the keys that row firstRow + r sees, and 0 for the others. In place. */
function softmaxProgram(tiles: RowTiles): Program {
  return {
    kernel: "attention",
    variant: `softmax,${tiles}`,
    build: () => ({
      params: { rows: "u32", n: "u32", firstRow: "u32", visibleOn: "u32", scale: "f32" },
      buffers: {
        visible: { type: "array<i32>", access: "read" },
        x: { type: "array<f32>", access: "write" },
      },
      code: rowKernel(
        tiles,
        `
  var end = p.n;
  if (p.visibleOn != 0u) { end = min(end, u32(visible[p.firstRow + r])); }
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

/** A product of two plain matrices. */
const plainProduct = {
  batch: 1,
  aBatchStride: 0,
  bBatchStride: 0,
  transA: false,
  packed: false,
  bType: "f32",
  epilogue: { activation: "none" },
} as const;

export function attentionByProducts(gpu: Context, args: Kernels["attention"]): void {
  const { q, k, v, out, visible, batch, heads, headDim, lq, lk, kvCapacity, scale } = args;
  const tiles = rowTilesFor(gpu, lk);
  const width = heads * headDim;
  const blockRows = Math.max(1, Math.min(lq, Math.floor(maxScoreBytes / (4 * lk))));
  const scores = gpu.alloc(blockRows * lk * 4);
  const queries = gpu.alloc(blockRows * headDim * 4);
  const result = gpu.alloc(blockRows * headDim * 4);
  const keys = gpu.alloc(lk * headDim * 4);
  const values = gpu.alloc(lk * headDim * 4);
  /** Rows of one head, from [.., heads, headDim] to a matrix [rows, headDim] or back. */
  const copy = (from: { x: Storage; pitch: number; offset: number }, to: typeof from, rows: number) =>
    stridedCopy(gpu, {
      x: from.x,
      out: to.x,
      shape: [rows, headDim],
      xStrides: [from.pitch, 1],
      xOffset: from.offset,
      outStrides: [to.pitch, 1],
      outOffset: to.offset,
    });
  const matrix = (x: Storage) => ({ x, pitch: headDim, offset: 0 });
  for (let b = 0; b < batch; b++) {
    for (let h = 0; h < heads; h++) {
      const keyOffset = b * kvCapacity * width + h * headDim;
      copy({ x: k, pitch: width, offset: keyOffset }, matrix(keys), lk);
      copy({ x: v, pitch: width, offset: keyOffset }, matrix(values), lk);
      for (let firstRow = 0; firstRow < lq; firstRow += blockRows) {
        const rows = Math.min(blockRows, lq - firstRow);
        const queryOffset = (b * lq + firstRow) * width + h * headDim;
        copy({ x: q, pitch: width, offset: queryOffset }, matrix(queries), rows);
        matmul(gpu, { ...plainProduct, a: queries, b: keys, out: scores, m: rows, n: lk, k: headDim, transB: true });
        gpu.dispatch(
          softmaxProgram(tiles),
          { visible: visible ?? gpu.empty, x: scores },
          { rows, n: lk, firstRow, visibleOn: visible ? 1 : 0, scale },
          rowGroups(tiles, rows),
        );
        matmul(gpu, { ...plainProduct, a: scores, b: values, out: result, m: rows, n: headDim, k: lk, transB: false });
        copy(matrix(result), { x: out, pitch: width, offset: queryOffset }, rows);
      }
    }
  }
  for (const storage of [scores, queries, result, keys, values]) gpu.free(storage);
}
