/**
 * out[i] = x[i] converted between f32, f16, i32 and u32. f16 is read and written as pairs in u32, which needs no
 * feature.
 */
import type { DType, Kernels } from "../../tensor/kernels.ts";
import type { Context } from "../context.ts";
import { linearGroups, perItem, type Program } from "../program.ts";

const scalar: Record<DType, string> = { f32: "f32", f16: "f32", i32: "i32", u32: "u32" };

/** Each thread converts two elements, so that it owns whole words of f16. */
function program(from: DType, to: DType): Program {
  return {
    kernel: "cast",
    variant: `${from},${to}`,
    build: () => {
      const load = from === "f16" ? "unpack2x16float(x[i])" : "x[i]";
      const vector = `vec2<${scalar[to]}>(v)`;
      return {
        params: { count: "u32", n: "u32" },
        buffers: {
          x: { type: from === "f16" ? "array<u32>" : `array<vec2<${scalar[from]}>>`, access: "read" },
          out: { type: to === "f16" ? "array<u32>" : `array<${scalar[to]}>`, access: "write" },
        },
        code: perItem(
          64,
          "p.count",
          `let v = ${load};
  let c = ${to === "f16" ? `pack2x16float(${vector})` : vector};
  ${to === "f16" ? "out[i] = c;" : "out[2u * i] = c.x;\n  if (2u * i + 1u < p.n) { out[2u * i + 1u] = c.y; }"}`,
        ),
      };
    },
  };
}

export function cast(gpu: Context, { x, out, n, from, to }: Kernels["cast"]): void {
  if (n === 0) return;
  const count = Math.ceil(n / 2);
  gpu.dispatch(program(from, to), { x, out }, { count, n }, linearGroups(Math.ceil(count / 64)));
}
