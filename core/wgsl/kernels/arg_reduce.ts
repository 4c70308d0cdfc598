/**
 * out[outer, inner] (i32) = first index of the largest or smallest of x[outer, n, inner] along n. Long rows are cut
 * into parts: first the best of each part, then the best of those. Among equals the lowest index wins.
 */
import type { Kernels } from "../../tensor/kernels.ts";
import type { Context } from "../context.ts";
import { linearGroups, perItem, type Program } from "../program.ts";

/** Elements that one thread takes. */
const chunk = 4096;

type Op = "argmax" | "argmin";

/** Item (o, s, j) of [outer, parts, inner] finds the best of up to `chunk` elements. */
function partProgram(op: Op): Program {
  return {
    kernel: "argReduce",
    variant: op,
    build: () => ({
      params: { count: "u32", n: "u32", inner: "u32", parts: "u32" },
      buffers: {
        x: { type: "array<f32>", access: "read" },
        best: { type: "array<f32>", access: "write" },
        out: { type: "array<i32>", access: "write" },
      },
      code: perItem(
        64,
        "p.count",
        `let first = ((i / p.inner) % p.parts) * ${chunk}u;
  let end = min(first + ${chunk}u, p.n);
  var at = ((i / (p.inner * p.parts)) * p.n + first) * p.inner + i % p.inner;
  var value = x[at];
  var index = first;
  for (var k = first + 1u; k < end; k++) {
    at += p.inner;
    let v = x[at];
    if (v ${op === "argmax" ? ">" : "<"} value) { value = v; index = k; }
  }
  if (p.parts > 1u) { best[i] = value; }
  out[i] = i32(index);`,
      ),
    }),
  };
}

function joinProgram(op: Op): Program {
  return {
    kernel: "argReduce",
    variant: `join,${op}`,
    build: () => ({
      params: { count: "u32", inner: "u32", parts: "u32" },
      buffers: {
        best: { type: "array<f32>", access: "read" },
        index: { type: "array<i32>", access: "read" },
        out: { type: "array<i32>", access: "write" },
      },
      code: perItem(
        64,
        "p.count",
        `var at = (i / p.inner) * p.parts * p.inner + i % p.inner;
  var value = best[at];
  var chosen = index[at];
  for (var s = 1u; s < p.parts; s++) {
    at += p.inner;
    if (best[at] ${op === "argmax" ? ">" : "<"} value) { value = best[at]; chosen = index[at]; }
  }
  out[i] = chosen;`,
      ),
    }),
  };
}

export function argReduce(gpu: Context, { op, x, out, outer, n, inner }: Kernels["argReduce"]): void {
  const count = outer * inner;
  if (count === 0) return;
  if (n === 0) throw new Error(`argReduce: ${op} over an empty dimension`);
  const parts = Math.ceil(n / chunk);
  const items = count * parts;
  const groups = linearGroups(Math.ceil(items / 64));
  // With one part the values are not used, but need a separate buffer: one buffer must not be bound twice.
  const best = gpu.scratch(parts > 1 ? items * 4 : 4);
  if (parts === 1) {
    gpu.dispatch(partProgram(op), { x, best, out }, { count, n, inner, parts }, groups);
  } else {
    const index = gpu.scratch(items * 4);
    gpu.dispatch(partProgram(op), { x, best, out: index }, { count: items, n, inner, parts }, groups);
    gpu.dispatch(joinProgram(op), { best, index, out }, { count, inner, parts }, linearGroups(Math.ceil(count / 64)));
    gpu.free(index);
  }
  gpu.free(best);
}
