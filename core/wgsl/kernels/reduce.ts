/**
 * out[outer, inner] = sum, mean, max or min of x[outer, n, inner] along n.
 * Long reductions have partial results of a few hundred elements each, for parallelism and for accuracy of sums.
 */
import type { Kernels } from "../../tensor/kernels.ts";
import type { Context } from "../context.ts";
import { linearGroups, perItem, type Program } from "../program.ts";
import { rowGroups, rowKernel, type RowTiles, rowTilesFor } from "./row_kernel.ts";

const steps = {
  sum: { start: "0.0", step: "acc + v" },
  mean: { start: "0.0", step: "acc + v" },
  max: { start: "v0", step: "max(acc, v)" },
  min: { start: "v0", step: "min(acc, v)" },
} as const;

/** Elements that one thread takes; at most this many squared are reduced in two passes. */
const chunk = 256;

/** Longer rows are too much for a workgroup: on a card they are cut into parts. */
const longestRow = 16384;

/** Item (o, s, j) of [outer, parts, inner] reduces up to `length` elements starting at s * length. */
function program(op: keyof typeof steps): Program {
  const { start, step } = steps[op];
  return {
    kernel: "reduce",
    variant: op === "mean" ? "sum" : op,
    build: () => ({
      params: { count: "u32", n: "u32", inner: "u32", parts: "u32", length: "u32", scale: "f32" },
      buffers: { x: { type: "array<f32>", access: "read" }, out: { type: "array<f32>", access: "write" } },
      code: perItem(
        64,
        "p.count",
        `let j = i % p.inner;
  let s = (i / p.inner) % p.parts;
  let o = i / (p.inner * p.parts);
  let first = s * p.length;
  let end = min(first + p.length, p.n);
  var at = (o * p.n + first) * p.inner + j;
  let v0 = x[at];
  var acc = ${start};
  for (var k = first; k < end; k++) {
    let v = x[at];
    acc = ${step};
    at += p.inner;
  }
  out[i] = acc * p.scale;`,
      ),
    }),
  };
}

/** Rows of [rows, n], on a card: neighbouring threads read neighbouring elements. */
function rowProgram(op: keyof typeof steps, tiles: RowTiles): Program {
  const { start, step } = steps[op];
  const joined = { sum: "rowSum(acc)", mean: "rowSum(acc)", max: "rowMax(acc)", min: "-rowMax(-acc)" }[op];
  return {
    kernel: "reduce",
    variant: `${tiles},${op === "mean" ? "sum" : op}`,
    build: () => ({
      params: { rows: "u32", n: "u32", scale: "f32" },
      buffers: { x: { type: "array<f32>", access: "read" }, out: { type: "array<f32>", access: "write" } },
      code: rowKernel(
        tiles,
        `
  let base = r * p.n;
  let v0 = x[base];
  var acc = ${start};
  for (var i = first; i < p.n; i += step) {
    let v = x[base + i];
    acc = ${step};
  }
  let result = ${joined};
  if (lead) { out[r] = result * p.scale; }`,
      ),
    }),
  };
}

export function reduce(gpu: Context, { op, x, out, outer, n, inner }: Kernels["reduce"]): void {
  if (outer * inner === 0) return;
  if (n === 0) throw new Error(`reduce: ${op} over an empty dimension`);
  const parts = Math.ceil(n / chunk);
  const scale = op === "mean" ? 1 / n : 1;
  if (gpu.tiles === "hardware" && inner === 1 && n > 1 && n <= longestRow) {
    const tiles = rowTilesFor(gpu, n);
    gpu.dispatch(rowProgram(op, tiles), { x, out }, { rows: outer, n, scale }, rowGroups(tiles, outer));
    return;
  }
  if (parts === 1) {
    const count = outer * inner;
    const params = { count, n, inner, parts, length: n, scale };
    gpu.dispatch(program(op), { x, out }, params, linearGroups(Math.ceil(count / 64)));
    return;
  }
  const count = outer * parts * inner;
  const partial = gpu.scratch(count * 4);
  const params = { count, n, inner, parts, length: chunk, scale };
  gpu.dispatch(program(op), { x, out: partial }, params, linearGroups(Math.ceil(count / 64)));
  reduce(gpu, { op: op === "mean" ? "sum" : op, x: partial, out, outer, n: parts, inner });
  gpu.free(partial);
}
