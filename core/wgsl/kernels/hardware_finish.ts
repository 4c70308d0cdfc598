/**
 * The end of products on hardware adapters: the epilogue fused into the store, and the sums of blocks that were
 * computed in parts along k.
 */
import type { Epilogue, Storage } from "../../tensor/kernels.ts";
import type { Context } from "../context.ts";
import { activationCodes, activationFunction } from "../math.ts";
import { linearGroups, perItem, type Program, type ScalarType } from "../program.ts";
import type { Schedule } from "../schedule.ts";
import { columnsOf, rowsOf, tiles } from "../tiles.ts";
import { tableParams } from "./layer_norm.ts";
import { rowTableFunction } from "./row_kernel.ts";

/** Parameters that finishCode uses beside m and n. */
export const epilogueParamTypes: Readonly<Record<string, ScalarType>> = {
  ...{ activation: "u32", biasOn: "u32", gateOn: "u32", residualOn: "u32" },
  ...{ gateSeq: "u32", gateBatch: "u32", gateRow: "u32", gateOffset: "u32" },
};

export function epilogueParams(epilogue: Epilogue): Record<string, number> {
  return {
    activation: activationCodes[epilogue.activation],
    biasOn: epilogue.bias ? 1 : 0,
    gateOn: epilogue.gate ? 1 : 0,
    residualOn: epilogue.residual ? 1 : 0,
    ...tableParams("gate", epilogue.gate),
  };
}

export function epilogueBuffers(gpu: Context, { bias, gate, residual }: Epilogue): Record<string, Storage> {
  return { bias: bias ?? gpu.empty, gate: gate?.data ?? gpu.empty, residual: residual ?? gpu.empty };
}

/**
 * WGSL: `finish(z, row, column, sum)` stores `width` neighbouring results after the epilogue, those that exist.
 * `vectors`: bias, residual and out are arrays of vectors, which needs rows of a multiple of `width`.
 */
export function finishCode(width: 2 | 4, vectors: boolean): string {
  const type = `vec${width}f`;
  // Lanes go around, so that the activation's text, which compiles slowly, occurs once.
  const rest = width === 4 ? "yzw" : "y";
  if (!vectors) {
    return `
${activationFunction}
${rowTableFunction("gate")}
fn finishOne(all: u32, column: u32, sum: f32) {
  if (column >= p.n) { return; }
  let at = all * p.n + column;
  var v = sum;
  if (p.biasOn != 0u) { v += bias[column]; }
  v = act(p.activation, v);
  if (p.gateOn != 0u) { v *= gate[atGate(all) + column]; }
  if (p.residualOn != 0u) { v += residual[at]; }
  out[at] = v;
}
fn finish(z: u32, row: u32, column: u32, sum: ${type}) {
  if (row >= p.m) { return; }
  var v = sum;
  for (var lane = 0u; lane < ${width}u; lane++) {
    finishOne(z * p.m + row, column + lane, v.x);
    v = ${type}(v.${rest}, v.x);
  }
}`;
  }
  return `
${activationFunction}
${rowTableFunction("gate")}
fn finish(z: u32, row: u32, column: u32, sum: ${type}) {
  if (row >= p.m || column >= p.n) { return; }
  let all = z * p.m + row;
  let at = (all * p.n + column) / ${width}u;
  var v = sum;
  if (p.biasOn != 0u) { v += bias[column / ${width}u]; }
  if (p.activation != 0u) {
    for (var lane = 0u; lane < ${width}u; lane++) { v = ${type}(v.${rest}, act(p.activation, v.x)); }
  }
  if (p.gateOn != 0u) {
    let g = atGate(all) + column;
    v *= ${type}(${Array.from({ length: width }, (_, e) => `gate[g + ${e}u]`).join(", ")});
  }
  if (p.residualOn != 0u) { v += residual[at]; }
  out[at] = v;
}`;
}

/** Per four results of the blocks in parts: the sum over the parts in their order, then `store`. */
function joinProgram(kind: "vectors" | "odd" | "taps"): Program {
  const stored = kind === "vectors" ? "array<vec4f>" : "array<f32>";
  const taps = kind === "taps";
  return {
    kernel: taps ? "conv2dWeightGradient" : "matmul",
    variant: `join,${kind}`,
    build: () => ({
      params: {
        ...{ count: "u32", m: "u32", n: "u32", across: "u32", down: "u32", whole: "u32", parts: "u32" },
        ...{ rows: "u32", quads: "u32" },
        ...(taps ? { cIn: "u32", taps: "u32" } : epilogueParamTypes),
      },
      buffers: {
        sums: { type: "array<vec4f>", access: "read" },
        ...(taps ? {} : {
          bias: { type: stored, access: "read" },
          gate: { type: "array<f32>", access: "read" },
          residual: { type: stored, access: "read" },
        }),
        out: { type: stored, access: "write" },
      },
      code: `
${taps ? tapsFinish : finishCode(4, kind === "vectors")}
${
        perItem(
          64,
          "p.count",
          `let size = p.rows * p.quads;
  let block = p.whole + i / size;
  let row = block / p.across % p.down * p.rows + i % size / p.quads;
  let column = 4u * (block % p.across * p.quads + i % p.quads);
  if (row >= p.m || column >= p.n) { return; }
  var at = i / size * p.parts * size + i % size;
  var sum = sums[at];
  for (var part = 1u; part < p.parts; part++) {
    at += size;
    sum += sums[at];
  }
  finish(block / p.across / p.down, row, column, sum);`,
        )
      }`,
    }),
  };
}

/** Columns (tap, channel) of a row become [channel, tap]. */
const tapsFinish = `
fn store(row: u32, column: u32, value: f32) {
  if (column < p.n) { out[(row * p.cIn + column % p.cIn) * p.taps + column / p.cIn] = value; }
}
fn finish(z: u32, row: u32, column: u32, sum: vec4f) {
  store(row, column, sum.x);
  store(row, column + 1u, sum.y);
  store(row, column + 2u, sum.z);
  store(row, column + 3u, sum.w);
}`;

/** Grid of a schedule's blocks. */
export interface Grid {
  readonly m: number;
  readonly n: number;
  /** Blocks side by side, and below each other. */
  readonly across: number;
  readonly down: number;
}

export function gridOf({ tile }: Schedule, m: number, n: number): Grid {
  return { m, n, across: Math.ceil(n / columnsOf(tiles[tile])), down: Math.ceil(m / rowsOf(tiles[tile])) };
}

/** Bytes of the sums of all parts. */
export function sumsBytes({ tile, blocks, whole, parts }: Schedule): number {
  return (blocks - whole) * parts * rowsOf(tiles[tile]) * columnsOf(tiles[tile]) * 4;
}

function joinValues(schedule: Schedule, grid: Grid) {
  const { tile, blocks, whole, parts } = schedule;
  const rows = rowsOf(tiles[tile]), quads = columnsOf(tiles[tile]) / 4;
  return { count: (blocks - whole) * rows * quads, ...grid, whole, parts, rows, quads };
}

/** Adds up the parts of a product's blocks, and finishes them. */
export function joinParts(
  gpu: Context,
  schedule: Schedule,
  grid: Grid,
  buffers: { readonly sums: Storage; readonly out: Storage },
  epilogue: Epilogue,
): void {
  const values = joinValues(schedule, grid);
  gpu.dispatch(
    joinProgram(grid.n % 4 === 0 ? "vectors" : "odd"),
    { ...buffers, ...epilogueBuffers(gpu, epilogue) },
    { ...values, ...epilogueParams(epilogue) },
    linearGroups(Math.ceil(values.count / 64)),
  );
}

/** Adds up the parts of a weight gradient, and re-lays its columns (tap, channel) as [channel, tap]. */
export function joinTaps(
  gpu: Context,
  schedule: Schedule,
  grid: Grid,
  buffers: { readonly sums: Storage; readonly out: Storage },
  taps: { readonly cIn: number; readonly taps: number },
): void {
  const values = joinValues(schedule, grid);
  gpu.dispatch(joinProgram("taps"), buffers, { ...values, ...taps }, linearGroups(Math.ceil(values.count / 64)));
}
