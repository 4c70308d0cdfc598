/**
 * out[z, m, n] = residual + gate * act(A_z[m, k] B_z[k, n] + bias), with B plain or packed.
 * Here is the plain path, one thread per row and four columns, for cases that the tiles do not take.
 */
import type { Kernels } from "../../tensor/kernels.ts";
import type { Context } from "../context.ts";
import { activationCodes, activationFunction } from "../math.ts";
import { linearGroups, perItem, type Program } from "../program.ts";
import { tableParams } from "./layer_norm.ts";
import { matmulRows } from "./hardware_rows.ts";
import { matmulHardware } from "./hardware_tile.ts";
import { paddedColumns } from "./pack.ts";
import { rowTableFunction } from "./row_kernel.ts";
import { matmulSoftware } from "./software_matmul.ts";

function program(bType: "plain" | "f32" | "f16"): Program {
  return {
    kernel: "matmul",
    variant: `simple,${bType}`,
    build: () => ({
      params: {
        count: "u32",
        m: "u32",
        n: "u32",
        k: "u32",
        quads: "u32",
        aBatch: "u32",
        aRow: "u32",
        aColumn: "u32",
        bBatch: "u32",
        bRow: "u32",
        bColumn: "u32",
        activation: "u32",
        biasOn: "u32",
        gateOn: "u32",
        residualOn: "u32",
        gateSeq: "u32",
        gateBatch: "u32",
        gateRow: "u32",
        gateOffset: "u32",
      },
      buffers: {
        a: { type: "array<f32>", access: "read" },
        b: {
          type: bType === "plain" ? "array<f32>" : bType === "f32" ? "array<vec4f>" : "array<vec2u>",
          access: "read",
        },
        bias: { type: "array<f32>", access: "read" },
        gate: { type: "array<f32>", access: "read" },
        residual: { type: "array<f32>", access: "read" },
        out: { type: "array<f32>", access: "write" },
      },
      code: `
${activationFunction}
${rowTableFunction("gate")}
${
        perItem(
          64,
          "p.count",
          `let quad = i % p.quads;
  let row = i / p.quads;
  let z = row / p.m;
  var aAt = z * p.aBatch + (row % p.m) * p.aRow;
  ${bType === "plain" ? "var bAt = z * p.bBatch + quad * 4u * p.bColumn;" : "var bAt = quad;"}
  var acc = vec4f(0.0);
  for (var k = 0u; k < p.k; k++) {
    ${
            bType === "plain"
              ? "let bv = vec4f(b[bAt], b[bAt + p.bColumn], b[bAt + 2u * p.bColumn], b[bAt + 3u * p.bColumn]);"
              : bType === "f32"
              ? "let bv = b[bAt];"
              : "let bv = vec4f(unpack2x16float(b[bAt].x), unpack2x16float(b[bAt].y));"
          }
    acc += a[aAt] * bv;
    aAt += p.aColumn;
    bAt += ${bType === "plain" ? "p.bRow" : "p.quads"};
  }
  for (var j = 0u; j < 4u; j++) {
    let column = quad * 4u + j;
    if (column < p.n) {
      var v = acc[j];
      if (p.biasOn != 0u) { v += bias[column]; }
      v = act(p.activation, v);
      if (p.gateOn != 0u) { v *= gate[atGate(row) + column]; }
      if (p.residualOn != 0u) { v += residual[row * p.n + column]; }
      out[row * p.n + column] = v;
    }
  }`,
        )
      }`,
    }),
  };
}

export function matmul(gpu: Context, args: Kernels["matmul"]): void {
  const { a, b, out, batch, m, n, k, aBatchStride, bBatchStride, transA, transB, packed, bType, epilogue } = args;
  if (batch * m * n === 0) return;
  if (gpu.tiles === "software" ? matmulSoftware(gpu, args) : matmulRows(gpu, args) || matmulHardware(gpu, args)) return;
  const quads = paddedColumns(n) / 4;
  const count = batch * m * quads;
  gpu.dispatch(
    program(packed ? bType : "plain"),
    {
      a,
      b,
      out,
      bias: epilogue.bias ?? gpu.empty,
      gate: epilogue.gate?.data ?? gpu.empty,
      residual: epilogue.residual ?? gpu.empty,
    },
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
      activation: activationCodes[epilogue.activation],
      biasOn: epilogue.bias ? 1 : 0,
      gateOn: epilogue.gate ? 1 : 0,
      residualOn: epilogue.residual ? 1 : 0,
      ...tableParams("gate", epilogue.gate),
    },
    linearGroups(Math.ceil(count / 64)),
  );
}
