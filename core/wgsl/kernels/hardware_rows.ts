/**
 * Products of one to four rows with a packed weight on hardware adapters, as in a step with a key/value cache. Reading
 * the weight takes all the time, so a workgroup takes only 32 columns, for many workgroups, and splits k among its threads.
 */
import type { Kernels } from "../../tensor/kernels.ts";
import type { Context } from "../context.ts";
import type { Program } from "../program.ts";
import { epilogueBuffers, epilogueParams, epilogueParamTypes, finishCode } from "./hardware_finish.ts";
import { paddedColumns } from "./pack.ts";

const quadsPerGroup = 8;
const slices = 32;
const maxRows = 4;

function program(rows: number, bType: "f32" | "f16", vectors: boolean): Program {
  const stored = vectors ? "array<vec4f>" : "array<f32>";
  const each = (code: (r: number) => string) => Array.from({ length: rows }, (_, r) => code(r)).join("\n  ");
  return {
    kernel: "matmul",
    variant: `rows${rows},${bType}${vectors ? "" : ",odd"}`,
    build: () => ({
      params: { m: "u32", n: "u32", k: "u32", quads: "u32", ...epilogueParamTypes },
      buffers: {
        a: { type: "array<f32>", access: "read" },
        b: { type: bType === "f32" ? "array<vec4f>" : "array<vec2u>", access: "read" },
        bias: { type: stored, access: "read" },
        gate: { type: "array<f32>", access: "read" },
        residual: { type: stored, access: "read" },
        out: { type: stored, access: "write" },
      },
      code: `
${finishCode(4, vectors)}
${
        bType === "f32"
          ? "fn bVector(v: vec4f) -> vec4f { return v; }"
          : "fn bVector(v: vec2u) -> vec4f { return vec4f(unpack2x16float(v.x), unpack2x16float(v.y)); }"
      }
var<workgroup> sums: array<array<vec4f, ${quadsPerGroup}>, ${slices * rows}>;
@compute @workgroup_size(${quadsPerGroup * slices})
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(local_invocation_index) lid: u32) {
  let column = lid % ${quadsPerGroup}u;
  let slice = lid / ${quadsPerGroup}u;
  let quad = wid.x * ${quadsPerGroup}u + column;
  let source = min(quad, p.quads - 1u);
  ${each((r) => `var s${r} = vec4f(0.0);`)}
  for (var k = slice; k < p.k; k += ${slices}u) {
    let w = bVector(b[k * p.quads + source]);
    ${each((r) => `s${r} += a[${r}u * p.k + k] * w;`)}
  }
  ${each((r) => `sums[slice * ${rows}u + ${r}u][column] = s${r};`)}
  workgroupBarrier();
  // Slice r of the threads finishes row r.
  if (slice < ${rows}u) {
    var total = vec4f(0.0);
    for (var i = 0u; i < ${slices}u; i++) { total += sums[i * ${rows}u + slice][column]; }
    finish(0u, slice, quad * 4u, total);
  }
}`,
    }),
  };
}

/** Returns false for other products. */
export function matmulRows(gpu: Context, args: Kernels["matmul"]): boolean {
  const { a, b, out, batch, n, k, transA, packed, bType, aBatchStride, epilogue } = args;
  const m = batch * args.m;
  if (!packed || transA || m > maxRows || (batch > 1 && aBatchStride !== args.m * k)) return false;
  const quads = paddedColumns(n) / 4;
  gpu.dispatch(
    program(m, bType, n % 4 === 0),
    { a, b, out, ...epilogueBuffers(gpu, epilogue) },
    { m, n, k, quads, ...epilogueParams(epilogue) },
    [Math.ceil(quads / quadsPerGroup), 1, 1],
  );
  return true;
}
