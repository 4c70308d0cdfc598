/**
 * The k largest of each row, descending, ties by lower index: by repeated selection for small k, else by a merge sort,
 * in which every element finds its position by binary search in the neighbouring run.
 */
import type { Kernels, Storage } from "../../tensor/kernels.ts";
import type { Context } from "../context.ts";
import { linearGroups, loopThreads, perItem, type Program } from "../program.ts";

/** Every round takes the largest element that comes after the last one taken. */
const selection = (tiles: Context["tiles"]): Program => ({
  kernel: "topK",
  variant: `select,${tiles}`,
  build: () => ({
    params: { rows: "u32", n: "u32", k: "u32" },
    buffers: {
      x: { type: "array<f32>", access: "read" },
      values: { type: "array<f32>", access: "write" },
      indices: { type: "array<i32>", access: "write" },
    },
    code: perItem(
      loopThreads[tiles],
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
});

/** Merges sorted runs of `run` elements in pairs; the first `kept` elements of each row are written. */
const merge: Program = {
  kernel: "topK",
  variant: "merge",
  build: () => ({
    params: { count: "u32", n: "u32", run: "u32", kept: "u32", first: "u32" },
    buffers: {
      x: { type: "array<f32>", access: "read" },
      order: { type: "array<i32>", access: "read" },
      values: { type: "array<f32>", access: "write" },
      indices: { type: "array<i32>", access: "write" },
    },
    code: perItem(
      64,
      "p.count",
      `let row = (i / p.n) * p.n;
  let column = i - row;
  let start = column - column % (2u * p.run);
  let left = column - start < p.run;
  let middle = min(start + p.run, p.n);
  let v = x[i];
  // In the neighbouring run, equal elements of the left run come first, those of the right run last.
  var low = select(start, middle, left);
  var high = select(middle, min(middle + p.run, p.n), left);
  let sibling = low;
  while (low < high) {
    let at = (low + high) / 2u;
    let u = x[row + at];
    if (u > v || (!left && u == v)) { low = at + 1u; } else { high = at; }
  }
  let to = select(start + column - middle, column, left) + low - sibling;
  if (to < p.kept) {
    let target_at = (i / p.n) * p.kept + to;
    values[target_at] = v;
    if (p.first != 0u) { indices[target_at] = i32(column); } else { indices[target_at] = order[i]; }
  }`,
    ),
  }),
};

export function topK(gpu: Context, { x, values, indices, rows, n, k }: Kernels["topK"]): void {
  if (rows * k === 0) return;
  if (k > n) throw new Error(`topK: ${k} elements wanted of rows of ${n}`);
  // Software adapters stop a thread after 65535 loop iterations.
  if (k <= 16 && k * (n + 1) < 65000) {
    const groups = linearGroups(Math.ceil(rows / loopThreads[gpu.tiles]));
    gpu.dispatch(selection(gpu.tiles), { x, values, indices }, { rows, n, k }, groups);
    return;
  }
  let from: { x: Storage; order: Storage } = { x, order: gpu.empty };
  const scratch: Storage[] = [];
  for (let run = 1; run < n || run === 1; run *= 2) {
    const last = 2 * run >= n;
    const to = last
      ? { x: values, order: indices }
      : { x: gpu.scratch(rows * n * 4), order: gpu.scratch(rows * n * 4) };
    gpu.dispatch(
      merge,
      { ...from, values: to.x, indices: to.order },
      { count: rows * n, n, run, kept: last ? k : n, first: run === 1 ? 1 : 0 },
      linearGroups(Math.ceil(rows * n / 64)),
    );
    for (const storage of scratch.splice(0)) gpu.free(storage);
    if (!last) scratch.push(to.x, to.order);
    from = to;
  }
}
