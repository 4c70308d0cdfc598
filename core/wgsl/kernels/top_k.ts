/**
 * The k largest of each row, descending, ties by lower index.
 * Every round takes the largest element that comes after the last one taken, so no memory besides the outputs is needed.
 */
import type { Kernels } from "../../tensor/kernels.ts";
import type { Context } from "../context.ts";
import { linearGroups, perItem, type Program } from "../program.ts";

const program: Program = {
  kernel: "topK",
  variant: "select",
  build: () => ({
    params: { rows: "u32", n: "u32", k: "u32" },
    buffers: {
      x: { type: "array<f32>", access: "read" },
      values: { type: "array<f32>", access: "write" },
      indices: { type: "array<i32>", access: "write" },
    },
    code: perItem(
      8,
      "p.rows",
      `let row = i * p.n;
  var lastValue = 0.0;
  var lastIndex = 0u;
  for (var t = 0u; t < p.k; t++) {
    var best = 0.0;
    var index = p.n;
    for (var j = 0u; j < p.n; j++) {
      let v = x[row + j];
      let later = t == 0u || v < lastValue || (v == lastValue && j > lastIndex);
      if (later && (index == p.n || v > best)) { best = v; index = j; }
    }
    values[i * p.k + t] = best;
    indices[i * p.k + t] = i32(index);
    lastValue = best;
    lastIndex = index;
  }`,
    ),
  }),
};

export function topK(gpu: Context, { x, values, indices, rows, n, k }: Kernels["topK"]): void {
  if (rows * k === 0) return;
  if (k > n) throw new Error(`topK: ${k} elements wanted of rows of ${n}`);
  gpu.dispatch(program, { x, values, indices }, { rows, n, k }, linearGroups(Math.ceil(rows / 8)));
}
