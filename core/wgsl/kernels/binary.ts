/**
 * out[...] = op(x[...], y[...]) with broadcasting, generated from the expressions of core/tensor/elementwise.ts.
 * Dimensions that are contiguous in all operands are merged first, so most calls are one flat loop over vec4s.
 */
import { binaryRows } from "../../tensor/elementwise.ts";
import type { Kernels } from "../../tensor/kernels.ts";
import { sizeOf, stridesOf } from "../../tensor/shape.ts";
import type { Context } from "../context.ts";
import { toWgsl } from "../math.ts";
import { linearGroups, perItem, type Program } from "../program.ts";
import { planWalk, type Walk, walkCode, walkParams, walkValues } from "./strides.ts";

const names = ["x", "y"] as const;

function program(op: string, walk: Walk): Program {
  const rank = walk.shape.length;
  return {
    kernel: "binary",
    variant: `${op},rank${rank},${walk.modes.slice(1).join()}`,
    build: () => {
      const row = (binaryRows as Record<string, { forward: string }>)[op];
      if (!row) throw new Error(`binary: no elementwise op is called ${op}`);
      const type = (s: number) => walk.modes[s] === "vector" ? "array<vec4f>" : "array<f32>";
      const operand = (name: string, s: number) => {
        const load = `${name}[${name}At]`;
        return walk.modes[s] === "splat" ? `vec4f(${load})` : load;
      };
      const store = walk.four
        ? "out[i] = vec4f(op(u.x, v.x), op(u.y, v.y), op(u.z, v.z), op(u.w, v.w));"
        : "out[i] = op(u, v);";
      return {
        params: walkParams(rank, names),
        buffers: {
          x: { type: type(1), access: "read" },
          y: { type: type(2), access: "read" },
          out: { type: type(0), access: "write" },
        },
        code: `
fn op(x: f32, y: f32) -> f32 { return ${toWgsl(row.forward)}; }
${
          perItem(
            64,
            "p.count",
            `${walkCode(rank, names)}
  let u = ${operand("x", 1)};
  let v = ${operand("y", 2)};
  ${store}`,
          )
        }`,
      };
    },
  };
}

export function binary(gpu: Context, { op, x, y, out, shape, xStrides, yStrides }: Kernels["binary"]): void {
  if (sizeOf(shape) === 0) return;
  const walk = planWalk(shape, [stridesOf(shape), xStrides, yStrides]);
  const operands: Walk = { ...walk, modes: walk.modes.slice(1), strides: walk.strides.slice(1) };
  const values = walkValues(operands, names, [0, 0]);
  gpu.dispatch(program(op, walk), { x, y, out }, values, linearGroups(Math.ceil(values.count / 64)));
}
