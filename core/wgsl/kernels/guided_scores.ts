/**
 * Log-probability and rank of one code per row under the guided logits of one sampler or more. Guided logits are
 * computed once for their maximum and once for the sum, which costs less than to store them.
 */
import type { Kernels } from "../../tensor/kernels.ts";
import type { Context } from "../context.ts";
import type { Program } from "../program.ts";
import { rowGroups, rowKernel, type RowTiles, rowTilesFor } from "./row_kernel.ts";

function program(tiles: RowTiles, width: 1 | 4, keepsGuided: boolean): Program {
  const vector = width === 4 ? "vec4f" : "f32", type = `array<${vector}>` as const;
  const all = (f: (v: string) => string) =>
    width === 4 ? `vec4f(${["x", "y", "z", "w"].map((lane) => f(`e.${lane}`))})` : f("e");
  const joined = (v: string, f: (a: string, b: string) => string) =>
    width === 4 ? f(f(`${v}.x`, `${v}.y`), f(`${v}.z`, `${v}.w`)) : v;
  const plus = (a: string, b: string) => `(${a} + ${b})`, most = (a: string, b: string) => `max(${a}, ${b})`;
  const guided = "((conditional[at] - unconditional[at] * m.y) * m.x + unconditional[at] * m.z) * m.w";
  const element = (name: string) => width === 4 ? `${name}[base + chosen / 4u][chosen % 4u]` : `${name}[base + chosen]`;
  return {
    kernel: "guidedScores",
    variant: `${tiles},${width}${keepsGuided ? ",guided" : ""}`,
    build: () => ({
      params: { rows: "u32", n: "u32", samplers: "u32", places: "u32" },
      buffers: {
        conditional: { type, access: "read" },
        unconditional: { type, access: "read" },
        index: { type: "array<i32>", access: "read" },
        place: { type: "array<i32>", access: "read" },
        mixing: { type: "array<vec4f>", access: "read" },
        scores: { type: "array<f32>", access: "write" },
        ...keepsGuided && { guided: { type, access: "write" } as const },
      },
      code: rowKernel(
        tiles,
        `
  let n = p.n${width === 4 ? " / 4u" : ""};
  let base = r * n;
  let chosen = u32(clamp(index[r], 0, i32(p.n) - 1));
  let here = u32(clamp(place[r], 0, i32(p.places) - 1));
  let c = ${element("conditional")};
  let u = ${element("unconditional")};
  for (var s = 0u; s < p.samplers; s++) {
    let m = mixing[s * p.places + here];
    let own = ((c - u * m.y) * m.x + u * m.z) * m.w;
    var most = ${vector}(own);
    var above = ${vector}(0.0);
    for (var i = first; i < n; i += step) {
      let at = base + i;
      let g = ${guided};
      most = max(most, g);
      above += select(${vector}(0.0), ${vector}(1.0), g > ${vector}(own));${
          keepsGuided ? "\n      if (s == 0u) { guided[at] = g; }" : ""
        }
    }
    let top = rowMax(${joined("most", most)});
    let likelier = rowSum(${joined("above", plus)});
    var sums = ${vector}(0.0);
    for (var i = first; i < n; i += step) {
      let at = base + i;
      let e = ${guided} - top;
      sums += ${all((v) => `m_exp(${v})`)};
    }
    let total = rowSum(${joined("sums", plus)});
    if (lead) {
      scores[2u * s * p.rows + r] = own - top - m_log(total);
      scores[(2u * s + 1u) * p.rows + r] = likelier + 1.0;
    }
  }`,
      ),
    }),
  };
}

export function guidedScores(gpu: Context, args: Kernels["guidedScores"]): void {
  const { conditional, unconditional, index, place, mixing, scores, guided, rows, n, samplers, places } = args;
  if (rows * samplers === 0) return;
  const tiles = rowTilesFor(gpu, n);
  gpu.dispatch(
    program(tiles, n % 4 === 0 ? 4 : 1, guided !== undefined),
    { conditional, unconditional, index, place, mixing, scores, ...guided && { guided } },
    { rows, n, samplers, places },
    rowGroups(tiles, rows),
  );
}
