/**
 * Products of one to four rows with a packed weight on hardware adapters, as in a step with a key/value cache. Reading
 * the weight takes all the time, so a workgroup takes 128 columns and splits k among its threads.
 */
import type { Kernels } from "../../tensor/kernels.ts";
import type { Context } from "../context.ts";
import type { Program } from "../program.ts";
import { common, epilogueParams, finishCode, rightCode } from "./hardware_tile.ts";
import { paddedColumns } from "./pack.ts";

const quadsPerGroup = 32;
const slices = 8;
const maxRows = 4;

function program(bType: "f32" | "f16", outFour: boolean): Program {
  const outType = outFour ? "array<vec4f>" : "array<f32>";
  return {
    kernel: "matmul",
    variant: `rows,${bType}${outFour ? "" : ",odd"}`,
    build: () => ({
      params: common,
      buffers: {
        a: { type: "array<f32>", access: "read" },
        b: { type: bType === "f32" ? "array<vec4f>" : "array<vec2u>", access: "read" },
        bias: { type: "array<f32>", access: "read" },
        gate: { type: "array<f32>", access: "read" },
        residual: { type: outType, access: "read" },
        out: { type: outType, access: "write" },
      },
      code: `
${rightCode(bType)}
${finishCode(outFour)}
var<workgroup> sums: array<vec4f, ${quadsPerGroup * slices * maxRows}>;
@compute @workgroup_size(${quadsPerGroup * slices})
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(local_invocation_index) lid: u32) {
  let quad = wid.x * ${quadsPerGroup}u + lid % ${quadsPerGroup}u;
  let slice = lid / ${quadsPerGroup}u;
  var s: array<vec4f, ${maxRows}>;
  for (var k = slice; k < p.k; k += ${slices}u) {
    let w = right(0u, k, quad);
    for (var r = 0u; r < ${maxRows}u; r++) { s[r] += a[min(r, p.m - 1u) * p.k + k] * w; }
  }
  for (var r = 0u; r < ${maxRows}u; r++) {
    sums[(r * ${slices}u + slice) * ${quadsPerGroup}u + lid % ${quadsPerGroup}u] = s[r];
  }
  workgroupBarrier();
  // Slice r of the threads finishes row r.
  if (slice < p.m) {
    var total = vec4f(0.0);
    for (var i = 0u; i < ${slices}u; i++) {
      total += sums[(slice * ${slices}u + i) * ${quadsPerGroup}u + lid % ${quadsPerGroup}u];
    }
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
    program(bType, n % 4 === 0),
    {
      a,
      b,
      out,
      bias: epilogue.bias ?? gpu.empty,
      gate: epilogue.gate?.data ?? gpu.empty,
      residual: epilogue.residual ?? gpu.empty,
    },
    { m, n, k, quads, bBatch: 0, ...epilogueParams(epilogue) },
    [Math.ceil(quads / quadsPerGroup), 1, 1],
  );
  return true;
}
