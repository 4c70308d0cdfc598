/**
 * Products of one to sixteen rows with a packed weight on hardware adapters, as in a step with a key/value cache.
 * Reading the weight takes all the time, so a workgroup takes only 8 columns, for many workgroups, and its 256 threads
 * share k, two steps at once where there are enough.
 */
import type { Kernels } from "../../tensor/kernels.ts";
import type { Context } from "../context.ts";
import type { Program } from "../program.ts";
import { epilogueBuffers, epilogueParams, epilogueParamTypes, finishCode } from "./hardware_finish.ts";
import { paddedColumns } from "./pack.ts";

const quadsPerGroup = 2;
/** Threads that share k for the same columns. */
const slices = 128;
/** Rows that are added up at once; their sums fill 16 KiB of workgroup memory. */
const rowsPerRound = 4;
const maxRows = 16;

/** The last row stands for those that there are not. */
function program(rows: 4 | 16, bType: "f32" | "f16", vectors: boolean): Program {
  const stored = vectors ? "array<vec4f>" : "array<f32>";
  const range = (count: number) => Array.from({ length: count }, (_, i) => i);
  const round = rowsPerRound, outputs = round * quadsPerGroup;
  /** Threads per output of a round, in the first of two steps of adding up. */
  const helpers = 16;
  /** Four steps along k for each of `steps`: all weights are loaded before the first is used. */
  const products = (steps: readonly string[]) =>
    [
      ...steps.map((step, u) =>
        range(4).map((j) => `let w${u}_${j} = bVector(b[(4u * ${step} + ${j}u) * p.quads + source]);`).join("\n    ")
      ),
      ...range(rows).flatMap((r) =>
        steps.map((step, u) => {
          const terms = range(4).map((j) => `v${r}_${u}.${"xyzw"[j]} * w${u}_${j}`).join(" + ");
          return `let v${r}_${u} = a[a${r} + ${step}]; s${r} += ${terms};`;
        })
      ),
    ].join("\n    ");
  return {
    kernel: "matmul",
    variant: `rows${rows},${bType}${vectors ? "" : ",odd"}`,
    build: () => ({
      params: { m: "u32", n: "u32", k: "u32", quads: "u32", ...epilogueParamTypes },
      buffers: {
        a: { type: "array<vec4f>", access: "read" },
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
var<workgroup> sums: array<array<vec4f, ${outputs}>, ${slices}>;
@compute @workgroup_size(${quadsPerGroup * slices})
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(local_invocation_index) lid: u32) {
  let column = lid % ${quadsPerGroup}u;
  let slice = lid / ${quadsPerGroup}u;
  let source = min(wid.x * ${quadsPerGroup}u + column, p.quads - 1u);
  ${range(rows).map((r) => `let a${r} = min(${r}u, p.m - 1u) * p.k / 4u;`).join(" ")}
  ${range(rows).map((r) => `var s${r} = vec4f(0.0);`).join(" ")}
  var step = slice;
  for (; step + ${slices}u < p.k / 4u; step += ${2 * slices}u) {
    ${products(["step", `(step + ${slices}u)`])}
  }
  for (; step < p.k / 4u; step += ${slices}u) {
    ${products(["step"])}
  }
  let output = lid % ${outputs}u;
  let helper = lid / ${outputs}u;
  // The sums move up by a round's rows each time, so that the epilogue's text occurs once.
  for (var first = 0u; first < ${rows}u; first += ${round}u) {
    ${range(round).map((r) => `sums[slice][${r * quadsPerGroup}u + column] = s${r};`).join("\n    ")}
    workgroupBarrier();
    if (helper < ${helpers}u) {
      var sum = vec4f(0.0);
      ${range(slices / helpers).map((i) => `sum += sums[helper + ${i * helpers}u][output];`).join(" ")}
      sums[helper][output] = sum;
    }
    workgroupBarrier();
    if (helper == 0u) {
      var sum = vec4f(0.0);
      for (var i = 0u; i < ${helpers}u; i++) { sum += sums[i][output]; }
      let quad = wid.x * ${quadsPerGroup}u + output % ${quadsPerGroup}u;
      finish(0u, first + output / ${quadsPerGroup}u, 4u * quad, sum);
    }
    workgroupBarrier();
    ${range(rows - round).map((r) => `s${r} = s${r + round};`).join(" ")}
  }
}`,
    }),
  };
}

/** Returns false for other products. */
export function matmulRows(gpu: Context, args: Kernels["matmul"]): boolean {
  const { a, b, out, batch, n, k, transA, packed, bType, aBatchStride, epilogue } = args;
  const m = batch * args.m;
  if (!packed || transA || m > maxRows || k % 4 !== 0 || (batch > 1 && aBatchStride !== args.m * k)) return false;
  const quads = paddedColumns(n) / 4;
  gpu.dispatch(
    program(m <= rowsPerRound ? 4 : 16, bType, n % 4 === 0),
    { a, b, out, ...epilogueBuffers(gpu, epilogue) },
    { m, n, k, quads, ...epilogueParams(epilogue) },
    [Math.ceil(quads / quadsPerGroup), 1, 1],
  );
  return true;
}
