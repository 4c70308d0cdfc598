/**
 * out = residual + gate * act(out + bias) in place, after a product whose kernel stores plain sums.
 * It costs a few percent of the product, and keeps variants out of the big kernels, which compile slowly.
 */
import type { Epilogue, Storage } from "../../tensor/kernels.ts";
import type { Context } from "../context.ts";
import { activationCodes, activationFunction } from "../math.ts";
import { linearGroups, perItem, type Program } from "../program.ts";
import { tableIsAligned, tableParams } from "./layer_norm.ts";
import { rowTableFunction } from "./row_kernel.ts";

function program(width: 1 | 4): Program {
  const type = width === 4 ? "array<vec4f>" : "array<f32>";
  return {
    kernel: "epilogue",
    variant: `${width}`,
    build: () => ({
      params: {
        count: "u32",
        n: "u32",
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
        bias: { type, access: "read" },
        gate: { type, access: "read" },
        residual: { type, access: "read" },
        out: { type, access: "write" },
      },
      code: `
${activationFunction}
${rowTableFunction("gate")}
${
        perItem(
          64,
          "p.count",
          `let column = i % p.n;
  var v = out[i];
  if (p.biasOn != 0u) { v += bias[column]; }
  v = act${width === 4 ? "4" : ""}(p.activation, v);
  if (p.gateOn != 0u) { v *= gate[atGate(i / p.n) / ${width}u + column]; }
  if (p.residualOn != 0u) { v += residual[i]; }
  out[i] = v;`,
        )
      }`,
    }),
  };
}

/** For rows of `n` columns. Dispatches nothing when the epilogue is empty. */
export function applyEpilogue(gpu: Context, out: Storage, rows: number, n: number, epilogue: Epilogue): void {
  const { bias, activation, gate, residual } = epilogue;
  if (!bias && !gate && !residual && activation === "none") return;
  const width = n % 4 === 0 && tableIsAligned(gate) ? 4 : 1;
  const count = rows * n / width;
  gpu.dispatch(
    program(width),
    { bias: bias ?? gpu.empty, gate: gate?.data ?? gpu.empty, residual: residual ?? gpu.empty, out },
    {
      count,
      n: n / width,
      activation: activationCodes[activation],
      biasOn: bias ? 1 : 0,
      gateOn: gate ? 1 : 0,
      residualOn: residual ? 1 : 0,
      ...tableParams("gate", gate),
    },
    linearGroups(Math.ceil(count / 64)),
  );
}
