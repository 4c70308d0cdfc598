/**
 * Runs matrix products, convolutions and gradients of convolution weights on hardware adapters: chooses operands and
 * schedule, and dispatches the blocks and, where k is summed in parts, the sums over the parts.
 */
import type { ConvSizes, Epilogue, Kernels, Storage } from "../../tensor/kernels.ts";
import type { Context } from "../context.ts";
import { linearGroups } from "../program.ts";
import type { Schedule } from "../schedule.ts";
import { tiles } from "../tiles.ts";
import {
  epilogueBuffers,
  epilogueParams,
  type Grid,
  gridOf,
  joinParts,
  joinTaps,
  sumsBytes,
} from "./hardware_finish.ts";
import type { Left } from "./hardware_left.ts";
import type { Right } from "./hardware_right.ts";
import { productProgram } from "./hardware_tile.ts";
import { paddedColumns } from "./pack.ts";

/** A product's operands, as the programs know them. */
interface Operands {
  readonly left: Left;
  readonly right: Right;
  readonly a: Storage;
  readonly b: Storage;
  readonly params: Readonly<Record<string, number>>;
  /** Whether they are multiplied in float16. */
  readonly half?: boolean;
}

function gridParams(schedule: Schedule, grid: Grid, k: number): Record<string, number> {
  const { blocks, whole, parts, partK } = schedule;
  return { ...grid, k, groups: whole + (blocks - whole) * parts, whole, parts, partK };
}

/** Blocks, then the sums over parts where there are any. */
function runProduct(
  gpu: Context,
  schedule: Schedule,
  [m, n, k]: readonly [number, number, number],
  { left, right, a, b, params, half }: Operands,
  { out, epilogue }: { readonly out: Storage; readonly epilogue: Epilogue },
): void {
  const { blocks, whole } = schedule;
  const grid = gridOf(schedule, m, n), tile = tiles[schedule.tile];
  const ending = whole === blocks ? "finish" : whole === 0 ? "sums" : "either";
  const sums = ending === "finish" ? undefined : gpu.scratch(sumsBytes(schedule));
  const values = gridParams(schedule, grid, k);
  gpu.dispatch(
    productProgram(tile, { left, right, ending, vectors: n % tile.width === 0, half }),
    {
      ...{ a, b },
      ...(ending === "sums" ? {} : { ...epilogueBuffers(gpu, epilogue), out }),
      ...(sums ? { sums } : {}),
    },
    { ...params, ...values, ...epilogueParams(epilogue) },
    linearGroups(values.groups),
  );
  if (!sums) return;
  joinParts(gpu, schedule, grid, { sums, out }, epilogue);
  gpu.free(sums);
}

/** Whether z is part of the rows: the same right operand for all, and left matrices one after another. */
function isJoined({ packed, bBatchStride, transA, aBatchStride, m, k }: Kernels["matmul"]): boolean {
  return (packed || bBatchStride === 0) && !transA && aBatchStride === m * k;
}

export function matmulHardware(gpu: Context, args: Kernels["matmul"]): void {
  const { a, b, out, n, k, transA, transB, packed, bType, epilogue } = args;
  const joined = isJoined(args);
  const batch = joined ? 1 : args.batch;
  const m = joined ? args.batch * args.m : args.m;
  const aBatch = batch === 1 ? 0 : args.aBatchStride, bBatch = packed ? 0 : args.bBatchStride;
  const four = packed || (!transB && n % 4 === 0 && (batch === 1 || bBatch % 4 === 0));
  const left = transA ? "columns1" : k % 4 === 0 && aBatch % 4 === 0 ? "rows4" : "rows1";
  const right = four ? (packed ? bType : "f32") : transB ? "columns1" : "rows1";
  runProduct(
    gpu,
    gpu.scheduler.scheduleOf({ m, n, k, batch, columnsStored: right === "columns1" }),
    [m, n, k],
    {
      ...{ left, right, a, b, half: packed && gpu.arithmetic === "f16" },
      params: {
        ...{ aBatch, aRow: transA ? 1 : k, aColumn: transA ? m : 1 },
        ...{ quads: paddedColumns(n) / 4, bBatch: four ? bBatch / 4 : bBatch },
      },
    },
    { out, epilogue },
  );
}

function imageValues(sizes: ConvSizes): Record<string, number> {
  const { h, w, cIn, kw, stride, upsample, padTop, padLeft, outH, outW } = sizes;
  return { h, w, cIn, kw, stride, halve: upsample === 2 ? 1 : 0, padTop, padLeft, outH, outW };
}

export function convHardware(gpu: Context, args: Kernels["conv2d"]): void {
  const { x, weight, out, bias, residual, activation, batch, cIn, cOut, kh, kw, outH, outW, wType } = args;
  const m = batch * outH * outW, n = cOut, k = kh * kw * cIn;
  runProduct(
    gpu,
    gpu.scheduler.scheduleOf({ m, n, k, batch: 1, channels: cIn % 8 === 0 ? cIn : undefined }),
    [m, n, k],
    {
      ...{ left: cIn % 8 === 0 ? "image8" : "image1", right: wType, a: x, b: weight },
      params: { ...imageValues(args), quads: paddedColumns(n) / 4, bBatch: 0 },
    },
    { out, epilogue: { bias, activation, residual } },
  );
}

/**
 * out[cOut, (tap, cIn)] = upstream[pixels, cOut]^T seen[pixels, (tap, cIn)], where seen is what each tap sees of x.
 * Then its columns are re-laid as [cIn, tap].
 */
export function weightGradientHardware(gpu: Context, args: Kernels["conv2dWeightGradient"]): void {
  const { x, upstream, out, batch, cIn, cOut, kh, kw, outH, outW } = args;
  const m = cOut, n = kh * kw * cIn, k = batch * outH * outW;
  // All blocks are stored as sums, because their columns are re-laid.
  const schedule = gpu.scheduler.scheduleOf({ m, n, k, batch: 1, allInParts: true });
  const grid = gridOf(schedule, m, n), tile = tiles[schedule.tile];
  const sums = gpu.scratch(sumsBytes(schedule));
  const values = gridParams(schedule, grid, k);
  const { depth } = tile;
  gpu.dispatch(
    productProgram(tile, { left: "columns1", right: cIn % 4 === 0 ? "taps4" : "taps1", ending: "sums", vectors: true }),
    { a: upstream, b: x, sums },
    {
      ...{ ...imageValues(args), aBatch: 0, aRow: 1, aColumn: m },
      ...{ stepX: depth % outW, stepY: Math.floor(depth / outW) % outH, stepImage: Math.floor(depth / outW / outH) },
      ...values,
    },
    linearGroups(values.groups),
  );
  joinTaps(gpu, schedule, grid, { sums, out }, { cIn, taps: kh * kw });
  gpu.free(sums);
}
