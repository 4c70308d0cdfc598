/**
 * out[outOffset + i.outStrides] = x[xOffset + i.xStrides]: permute, slice, concat, pad and broadcast are all this copy.
 * Elements are copied as bit patterns, so it serves every 4-byte type.
 */
import type { Kernels } from "../../tensor/kernels.ts";
import { sizeOf } from "../../tensor/shape.ts";
import type { Context } from "../context.ts";
import { linearGroups, perItem, type Program } from "../program.ts";
import { planWalk, type Walk, walkCode, walkParams, walkValues } from "./strides.ts";

const names = ["x", "out"] as const;

function program(walk: Walk): Program {
  const rank = walk.shape.length;
  return {
    kernel: "stridedCopy",
    variant: `rank${rank},${walk.modes.join()}`,
    build: () => {
      const type = (s: number) => walk.modes[s] === "vector" ? "array<vec4u>" : "array<u32>";
      const load = walk.modes[0] === "splat" ? "vec4u(x[xAt])" : "x[xAt]";
      return {
        params: walkParams(rank, names),
        buffers: { x: { type: type(0), access: "read" }, out: { type: type(1), access: "write" } },
        code: perItem(64, "p.count", `${walkCode(rank, names)}\n  out[outAt] = ${load};`),
      };
    },
  };
}

export function stridedCopy(gpu: Context, args: Kernels["stridedCopy"]): void {
  const { x, out, shape, xStrides, xOffset, outStrides, outOffset } = args;
  if (sizeOf(shape) === 0) return;
  const planned = planWalk(shape, [xStrides, outStrides], [xOffset, outOffset]);
  // An output with stride 0 along the last dimension would be written several times; no op does that.
  const walk: Walk = planned.modes[1] === "splat"
    ? { ...planned, four: false, modes: ["element", "element"] }
    : planned;
  const values = walkValues(walk, names, [xOffset, outOffset]);
  gpu.dispatch(program(walk), { x, out }, values, linearGroups(Math.ceil(values.count / 64)));
}
