/**
 * out[i] = value. One program writes the bit pattern of any 4-byte type.
 */
import type { Kernels } from "../../tensor/kernels.ts";
import type { Context } from "../context.ts";
import { linearGroups, perItem, type Program, storeFour } from "../program.ts";

const program: Program = {
  kernel: "fill",
  variant: "",
  build: () => ({
    params: { count: "u32", n: "u32", bits: "u32" },
    buffers: { out: { type: "array<vec4u>", access: "write" } },
    code: perItem(64, "p.count", storeFour("vec4u(p.bits)")),
  }),
};

export function fill(gpu: Context, { out, n, value, dtype }: Kernels["fill"]): void {
  if (n === 0) return;
  if (dtype === "f16") throw new Error("fill: f16 storage cannot be filled");
  const bits = dtype === "f32" ? new Uint32Array(new Float32Array([value]).buffer)[0] : value >>> 0;
  const count = Math.ceil(n / 4);
  gpu.dispatch(program, { out }, { count, n, bits }, linearGroups(Math.ceil(count / 64)));
}
