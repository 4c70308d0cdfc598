/**
 * Shared by the kernels: checked buffers, the pool, temporary memory, estimates of time, arguments of epilogues.
 */
import type { Activation, Epilogue, RowTable } from "../../tensor/kernels.ts";
import type { Heap } from "../heap.ts";
import type { Pool } from "../pool.ts";
import type { Buffers } from "../storage.ts";

/** What a kernel gets of the device. */
export interface Context {
  readonly heap: Heap;
  readonly buffers: Buffers;
  readonly pool: Pool;
}

/** Floating-point operations per nanosecond of one thread, for estimates of a unit's cost. */
export const FLOPS_PER_NS = 40;
/** Bytes per nanosecond of one thread, likewise. */
export const BYTES_PER_NS = 8;
/** Smallest piece of a product that is worth a unit, in floating-point operations. */
export const UNIT_FLOPS = 8e6;

/** Panels of weights that a product keeps widened or transformed at a time: PANELS of assembly/block.ts. */
export function panelsAtOnce({ pool }: Context): number {
  return pool.build === "wide" ? 2 : 1;
}

const activations: readonly Activation[] = ["none", "silu", "gelu", "geluTanh", "relu"];

/** The number that assembly/math.ts gives an activation. */
function activationCode(activation: Activation): number {
  return activations.indexOf(activation);
}

/** The five integers of a row table, as assembly/block.ts reads them; checked for `rows` rows of `n` columns. */
export function tableInts(
  context: Context,
  kernel: string,
  name: string,
  table: RowTable | undefined,
  rows: number,
  n: number,
): number[] {
  if (table === undefined) return [0, 1, 0, 0, 0];
  const { data, seq, batchStride, rowStride, offset } = table;
  const batches = Math.ceil(rows / seq);
  const last = (batches - 1) * batchStride + (Math.min(seq, rows) - 1) * rowStride + offset + n;
  return [context.buffers.at(kernel, name, data, last * 4), seq, batchStride, rowStride, offset];
}

/** The eight integers of an epilogue of a [rows, n] result. */
export function epilogueInts(context: Context, kernel: string, epilogue: Epilogue, rows: number, n: number): number[] {
  const { bias, residual, gate, activation } = epilogue;
  return [
    bias ? context.buffers.at(kernel, "bias", bias, n * 4) : 0,
    activationCode(activation),
    residual ? context.buffers.at(kernel, "residual", residual, rows * n * 4) : 0,
    ...tableInts(context, kernel, "gate", gate, rows, n),
  ];
}

/** Calls `use` with the address of `bytes` bytes of temporary memory. */
export function withTemporary<T>(context: Context, bytes: number, use: (address: number) => T): T {
  const address = context.heap.alloc(bytes);
  try {
    return use(address);
  } finally {
    context.heap.free(address);
  }
}

/**
 * Size of a part when `total` is cut into as few equal parts of at most `most` as possible, each a multiple of `step`.
 */
export function evenBlock(total: number, most: number, step: number): number {
  const parts = Math.ceil(total / most);
  return Math.ceil(total / parts / step) * step;
}
