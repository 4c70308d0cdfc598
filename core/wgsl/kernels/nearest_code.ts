/**
 * The nearest codebook entry of each row, by |code|^2 - 2 x.code; the distances are not stored.
 */
import type { Kernels } from "../../tensor/kernels.ts";
import type { Context } from "../context.ts";
import { linearGroups, perItem, type Program } from "../program.ts";

const program: Program = {
  kernel: "nearestCode",
  variant: "simple",
  build: () => ({
    params: { rows: "u32", codes: "u32", c: "u32" },
    buffers: {
      x: { type: "array<f32>", access: "read" },
      codebook: { type: "array<f32>", access: "read" },
      out: { type: "array<i32>", access: "write" },
    },
    code: perItem(
      8,
      "p.rows",
      `var best = 0.0;
  var index = 0u;
  for (var v = 0u; v < p.codes; v++) {
    var norm = 0.0;
    var dot = 0.0;
    for (var d = 0u; d < p.c; d++) {
      let e = codebook[v * p.c + d];
      norm += e * e;
      dot += e * x[i * p.c + d];
    }
    let distance = norm - 2.0 * dot;
    if (v == 0u || distance < best) { best = distance; index = v; }
  }
  out[i] = i32(index);`,
    ),
  }),
};

export function nearestCode(gpu: Context, { x, codebook, out, rows, codes, c }: Kernels["nearestCode"]): void {
  if (rows === 0) return;
  gpu.dispatch(program, { x, codebook, out }, { rows, codes, c }, linearGroups(Math.ceil(rows / 8)));
}
