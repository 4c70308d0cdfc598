/**
 * out[z, m, n] = residual + gate * act(A_z[m, k] B_z[k, n] + bias), with B plain or packed.
 * Here is the plain path of software adapters, one thread per row and four columns, for products too small for tiles.
 */
import type { Kernels } from "../../tensor/kernels.ts";
import type { Context } from "../context.ts";
import { linearGroups, perItem, type Program } from "../program.ts";
import { epilogueBuffers, epilogueParams, epilogueParamTypes, finishCode } from "./hardware_finish.ts";
import { matmulHardware } from "./hardware_product.ts";
import { matmulRows } from "./hardware_rows.ts";
import { paddedColumns } from "./pack.ts";
import { matmulSoftware } from "./software_matmul.ts";

/** Grid: items of one row and four columns. */
function program(): Program {
  return {
    kernel: "matmul",
    variant: "plain",
    build: () => ({
      params: {
        ...{ count: "u32", m: "u32", n: "u32", k: "u32", quads: "u32" },
        ...{ aBatch: "u32", aRow: "u32", aColumn: "u32", bBatch: "u32", bRow: "u32", bColumn: "u32" },
        ...epilogueParamTypes,
      },
      buffers: {
        a: { type: "array<f32>", access: "read" },
        b: { type: "array<f32>", access: "read" },
        bias: { type: "array<f32>", access: "read" },
        gate: { type: "array<f32>", access: "read" },
        residual: { type: "array<f32>", access: "read" },
        out: { type: "array<f32>", access: "write" },
      },
      code: `
${finishCode(4, false)}
${
        perItem(
          64,
          "p.count",
          `let quad = i % p.quads;
  let row = i / p.quads;
  let z = row / p.m;
  var aAt = z * p.aBatch + (row % p.m) * p.aRow;
  var bAt = z * p.bBatch + quad * 4u * p.bColumn;
  var sum = vec4f(0.0);
  for (var k = 0u; k < p.k; k++) {
    sum += a[aAt] * vec4f(b[bAt], b[bAt + p.bColumn], b[bAt + 2u * p.bColumn], b[bAt + 3u * p.bColumn]);
    aAt += p.aColumn;
    bAt += p.bRow;
  }
  finish(z, row % p.m, 4u * quad, sum);`,
        )
      }`,
    }),
  };
}

export function matmul(gpu: Context, args: Kernels["matmul"]): void {
  const { a, b, out, batch, m, n, k, aBatchStride, bBatchStride, transA, transB, epilogue } = args;
  if (batch * m * n === 0) return;
  if (gpu.tiles === "hardware") {
    if (!matmulRows(gpu, args)) matmulHardware(gpu, args);
    return;
  }
  if (matmulSoftware(gpu, args)) return;
  const quads = paddedColumns(n) / 4;
  const count = batch * m * quads;
  gpu.dispatch(
    program(),
    { a, b, out, ...epilogueBuffers(gpu, epilogue) },
    {
      count,
      m,
      n,
      k,
      quads,
      aBatch: aBatchStride,
      aRow: transA ? 1 : k,
      aColumn: transA ? m : 1,
      bBatch: bBatchStride,
      bRow: transB ? 1 : n,
      bColumn: transB ? k : 1,
      ...epilogueParams(epilogue),
    },
    linearGroups(Math.ceil(count / 64)),
  );
}
