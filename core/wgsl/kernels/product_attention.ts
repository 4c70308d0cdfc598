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
  /** Rows of one head, between their place in [.., heads, headDim] and a matrix of their own. */
  const copy = (
    x: Storage,
    xPitch: number,
    xOffset: number,
    to: Storage,
    pitch: number,
    offset: number,
    rows: number,
  ) =>
    stridedCopy(gpu, {
      x,
      out: to,
      shape: [rows, headDim],
      xStrides: [xPitch, 1],
      xOffset,
      outStrides: [pitch, 1],
      outOffset: offset,
    });
  const product = (a: Storage, b: Storage, to: Storage, m: number, n: number, kk: number, transB: boolean) =>
    matmul(gpu, {
      a,
      b,
      out: to,
      batch: 1,
      m,
      n,
      k: kk,
      aBatchStride: 0,
      bBatchStride: 0,
      transA: false,
      transB,
      packed: false,
      bType: "f32",
      epilogue: { activation: "none" },
    });
  for (let b = 0; b < batch; b++) {
    for (let h = 0; h < heads; h++) {
      const keyOffset = b * kvCapacity * width + h * headDim;
      copy(k, width, keyOffset, keys, headDim, 0, lk);
      copy(v, width, keyOffset, values, headDim, 0, lk);
      for (let firstRow = 0; firstRow < lq; firstRow += blockRows) {
        const rows = Math.min(blockRows, lq - firstRow);
        const queryOffset = (b * lq + firstRow) * width + h * headDim;
        copy(q, width, queryOffset, queries, headDim, 0, rows);
        product(queries, keys, scores, rows, lk, headDim, true);
        gpu.dispatch(
          softmaxProgram(tiles),
          { visible: visible ?? gpu.empty, x: scores },
          { rows, n: lk, firstRow, visibleOn: visible ? 1 : 0, scale },
          rowGroups(tiles, rows),
        );
        product(scores, values, result, rows, headDim, lk, false);
        copy(result, headDim, 0, out, width, queryOffset, rows);
      }
    }
  }
  for (const storage of [scores, queries, result, keys, values]) gpu.free(storage);
}
