/**
 * out[outer, inner] (i32) = first index of the largest or smallest of x[outer, n, inner] along n.
 */
import type { Kernels } from "../../tensor/kernels.ts";
import type { Context } from "../context.ts";
import { linearGroups, perItem, type Program } from "../program.ts";

function program(op: "argmax" | "argmin"): Program {
  return {
    kernel: "argReduce",
    variant: op,
    build: () => ({
      params: { count: "u32", n: "u32", inner: "u32" },
      buffers: { x: { type: "array<f32>", access: "read" }, out: { type: "array<i32>", access: "write" } },
      code: perItem(
        64,
        "p.count",
        `var at = (i / p.inner) * p.n * p.inner + i % p.inner;
  var best = x[at];
  var index = 0u;
  for (var k = 1u; k < p.n; k++) {
    at += p.inner;
    let v = x[at];
    if (v ${op === "argmax" ? ">" : "<"} best) { best = v; index = k; }
  }
  out[i] = i32(index);`,
      ),
    }),
  };
}

export function argReduce(gpu: Context, { op, x, out, outer, n, inner }: Kernels["argReduce"]): void {
  const count = outer * inner;
  if (count === 0) return;
  if (n === 0) throw new Error(`argReduce: ${op} over an empty dimension`);
  gpu.dispatch(program(op), { x, out }, { count, n, inner }, linearGroups(Math.ceil(count / 64)));
}
