/**
 * Softmax and log-softmax of rows, and the log-softmax at one index per row without storing the others.
 * The maximum is subtracted first, so no input overflows.
 */
import type { Kernels } from "../../tensor/kernels.ts";
import type { Context } from "../context.ts";
import type { Program } from "../program.ts";
import { rowGroups, rowKernel, type RowTiles, rowTilesFor } from "./row_kernel.ts";

/** Sums four (or one) neighbours of a row; `width` 4 needs rows of whole vec4s. */
function maxAndSum(width: 1 | 4): string {
  const type = width === 4 ? "vec4f" : "f32";
  const all = (f: (v: string) => string) =>
    width === 4 ? `vec4f(${["x", "y", "z", "w"].map((l) => f(`e.${l}`))})` : f("e");
  return `
  let n = p.n${width === 4 ? " / 4u" : ""};
  let base = r * n;
  var m = x[base];
  for (var i = first; i < n; i += step) { m = max(m, x[base + i]); }
  let top = rowMax(${width === 4 ? "max(max(m.x, m.y), max(m.z, m.w))" : "m"});
  var sums = ${type}(0.0);
  for (var i = first; i < n; i += step) {
    let e = x[base + i] - top;
    sums += ${all((v) => `m_exp(${v})`)};
  }
  let total = rowSum(${width === 4 ? "(sums.x + sums.y) + (sums.z + sums.w)" : "sums"});`;
}

function softmaxProgram(tiles: RowTiles, width: 1 | 4, log: boolean): Program {
  const type = width === 4 ? "array<vec4f>" : "array<f32>";
  return {
    kernel: "softmax",
    variant: `${tiles},${width}${log ? ",log" : ""}`,
    build: () => ({
      params: { rows: "u32", n: "u32" },
      buffers: { x: { type, access: "read" }, out: { type, access: "write" } },
      code: rowKernel(
        tiles,
        maxAndSum(width) + `
  ${log ? "let logTotal = m_log(total);" : "let scale = 1.0 / total;"}
  for (var i = first; i < n; i += step) {
    let e = x[base + i] - top;
    out[base + i] = ${
          log
            ? "e - logTotal"
            : width === 4
            ? "vec4f(m_exp(e.x), m_exp(e.y), m_exp(e.z), m_exp(e.w)) * scale"
            : "m_exp(e) * scale"
        };
  }`,
      ),
    }),
  };
}

export function softmax(gpu: Context, { x, out, rows, n, log }: Kernels["softmax"]): void {
  if (rows * n === 0) return;
  const tiles = rowTilesFor(gpu, n);
  const program = softmaxProgram(tiles, n % 4 === 0 ? 4 : 1, log);
  gpu.dispatch(program, { x, out }, { rows, n }, rowGroups(tiles, rows));
}

function gatherProgram(tiles: RowTiles, width: 1 | 4): Program {
  const type = width === 4 ? "array<vec4f>" : "array<f32>";
  return {
    kernel: "logSoftmaxGather",
    variant: `${tiles},${width}`,
    build: () => ({
      params: { rows: "u32", n: "u32" },
      buffers: {
        x: { type, access: "read" },
        index: { type: "array<i32>", access: "read" },
        out: { type: "array<f32>", access: "write" },
      },
      code: rowKernel(
        tiles,
        maxAndSum(width) + `
  let chosen = u32(clamp(index[r], 0, i32(p.n) - 1));
  let value = ${width === 4 ? "x[base + chosen / 4u][chosen % 4u]" : "x[base + chosen]"};
  if (lead) { out[r] = value - top - m_log(total); }`,
      ),
    }),
  };
}

export function logSoftmaxGather(gpu: Context, { x, index, out, rows, n }: Kernels["logSoftmaxGather"]): void {
  if (rows === 0) return;
  const tiles = rowTilesFor(gpu, n);
  const program = gatherProgram(tiles, n % 4 === 0 ? 4 : 1);
  gpu.dispatch(program, { x, index, out }, { rows, n }, rowGroups(tiles, rows));
}
