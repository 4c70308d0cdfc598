/**
 * out[r, :] = x[index[r], :] from a table of f32, f16 or i32; f16 rows become f32. Indices are clamped to the table.
 */
import type { Kernels } from "../../tensor/kernels.ts";
import type { Context } from "../context.ts";
import { linearGroups, perItem, type Program } from "../program.ts";

/** `four`: rows are whole vec4s (two words of f16), and each thread copies one. */
function program(f16: boolean, four: boolean): Program {
  return {
    kernel: "gatherRows",
    variant: `${f16 ? "f16" : "bits"},${four ? 4 : 1}`,
    build: () => {
      const type = f16 ? (four ? "array<vec2u>" : "array<u32>") : four ? "array<vec4u>" : "array<u32>";
      const load = !f16
        ? "x[at]"
        : four
        ? "bitcast<vec4u>(vec4f(unpack2x16float(x[at].x), unpack2x16float(x[at].y)))"
        : "bitcast<u32>(unpack2x16float(x[at / 2u])[at % 2u])";
      return {
        params: { count: "u32", n: "u32", last: "i32" },
        buffers: {
          x: { type, access: "read" },
          index: { type: "array<i32>", access: "read" },
          out: { type: four ? "array<vec4u>" : "array<u32>", access: "write" },
        },
        code: perItem(
          64,
          "p.count",
          `let r = i / p.n;
  let at = u32(clamp(index[r], 0, p.last)) * p.n + i % p.n;
  out[i] = ${load};`,
        ),
      };
    },
  };
}

export function gatherRows(gpu: Context, { x, index, out, rows, rowsX, n, xType }: Kernels["gatherRows"]): void {
  const four = n % 4 === 0;
  const width = four ? n / 4 : n;
  const count = rows * width;
  if (count === 0) return;
  gpu.dispatch(
    program(xType === "f16", four),
    { x, index, out },
    { count, n: width, last: rowsX - 1 },
    linearGroups(Math.ceil(count / 64)),
  );
}
