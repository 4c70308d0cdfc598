/**
 * out[i] = op(x[i]), generated from the expressions of core/tensor/elementwise.ts.
 * Buffers are padded to whole vec4s, so the last one may be read whole, but not written.
 */
import { unaryRows } from "../../tensor/elementwise.ts";
import type { Kernels } from "../../tensor/kernels.ts";
import type { Context } from "../context.ts";
import { toWgsl } from "../math.ts";
import { linearGroups, perItem, type Program, storeFour } from "../program.ts";

function program(op: string): Program {
  return {
    kernel: "unary",
    variant: op,
    build: () => {
      const row = (unaryRows as Record<string, { forward: string }>)[op];
      if (!row) throw new Error(`unary: no elementwise op is called ${op}`);
      return {
        params: { count: "u32", n: "u32", a: "f32", b: "f32" },
        buffers: { x: { type: "array<vec4f>", access: "read" }, out: { type: "array<vec4f>", access: "write" } },
        code: `
fn op(x: f32) -> f32 {
  let a = p.a;
  let b = p.b;
  return ${toWgsl(row.forward)};
}
${perItem(64, "p.count", "let v = x[i];" + storeFour("vec4f(op(v.x), op(v.y), op(v.z), op(v.w))"))}`,
      };
    },
  };
}

export function unary(gpu: Context, { op, x, out, n, a, b }: Kernels["unary"]): void {
  if (n === 0) return;
  const count = Math.ceil(n / 4);
  gpu.dispatch(program(op), { x, out }, { count, n, a, b }, linearGroups(Math.ceil(count / 64)));
}
