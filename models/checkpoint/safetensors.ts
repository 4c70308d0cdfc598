/**
 * Reads safetensors files: eight bytes of header length, a JSON index, raw little-endian values, by random access.
 * Files that the format forbids (holes, overlaps, bytes beyond the last tensor) are refused. Format:
 * https://github.com/huggingface/safetensors.
 */

import { sizeOf, stridesOf } from "../../core/tensor/shape.ts";
import { type RandomAccess, RandomAccessFile, subRange } from "./bytes.ts";
import type { StoredDType, TensorSource } from "./source.ts";
import { DTYPE_BYTES, type StoredTensor, StoredTensors } from "./stored.ts";

/** Most bytes of a header. The reference implementation's limit, too. */
export const MAX_HEADER = 100_000_000;

/** Element types as the format calls them. */
export const DTYPE_NAMES: Readonly<Record<StoredDType, string>> = {
  f64: "F64",
  f32: "F32",
  f16: "F16",
  bf16: "BF16",
  i64: "I64",
  i32: "I32",
  i16: "I16",
  i8: "I8",
  u8: "U8",
  bool: "BOOL",
};
const DTYPE_OF = new Map(Object.entries(DTYPE_NAMES).map(([dtype, name]) => [name, dtype as StoredDType]));

/** An open safetensors file. */
export interface SafetensorsSource extends TensorSource {
  /** The header's `__metadata__`. */
  readonly metadata: ReadonlyMap<string, string>;
}

/** Opens a safetensors file; reads only its header. Throws errors that begin with the file's name. */
export async function openSafetensors(path: string): Promise<SafetensorsSource> {
  const file = await RandomAccessFile.open(path);
  try {
    return await readSafetensors(file);
  } catch (error) {
    file.close();
    throw error;
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Reads the index of an open file; the source that comes back closes the file. */
export async function readSafetensors(file: RandomAccess): Promise<SafetensorsSource> {
  const { label } = file;
  const fail = (message: string): never => {
    throw new Error(`${label}: safetensors: ${message}`);
  };
  const prefix = new Uint8Array(8);
  await file.read(0, prefix);
  const length = Number(new DataView(prefix.buffer).getBigUint64(0, true));
  if (length > MAX_HEADER) fail(`header expects at most ${MAX_HEADER} bytes, got ${length}`);
  if (8 + length > file.size) {
    fail(`truncated: expected a header of ${length} bytes, got ${Math.max(0, file.size - 8)}`);
  }
  const bytes = new Uint8Array(length);
  await file.read(8, bytes);
  let header: unknown;
  try {
    header = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    fail(`damaged: the header is not JSON: ${error instanceof Error ? error.message : error}`);
  }
  if (!isRecord(header)) return fail("damaged: the header is not a JSON object");

  const dataStart = 8 + length;
  const metadata = new Map<string, string>();
  const spans: { name: string; dtype: StoredDType; shape: number[]; begin: number; end: number }[] = [];
  for (const [name, entry] of Object.entries(header)) {
    if (!isRecord(entry)) return fail(`damaged: the entry of ${JSON.stringify(name)} is not an object`);
    if (name === "__metadata__") {
      for (const [key, value] of Object.entries(entry)) {
        if (typeof value !== "string") fail(`damaged: metadata ${JSON.stringify(key)} is not text`);
        metadata.set(key, String(value));
      }
      continue;
    }
    spans.push(readEntry(name, entry, fail));
  }
  // By position and not by JSON order, in which JavaScript puts names that are numbers first.
  spans.sort((a, b) => a.begin - b.begin || a.end - b.end);
  requireDense(spans, file.size - dataStart, fail);
  const tensors = spans.map(({ name, dtype, shape, begin, end }): StoredTensor => ({
    name,
    dtype,
    shape,
    storage: subRange(file, dataStart + begin, end - begin, label),
    offset: 0,
    strides: stridesOf(shape),
  }));
  return Object.assign(new StoredTensors(label, tensors, () => file.close()), { metadata });
}

function readEntry(name: string, entry: Record<string, unknown>, fail: (message: string) => never) {
  const what = `tensor ${JSON.stringify(name)}`;
  const whole = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
  const { shape, data_offsets: offsets } = entry;
  const dtype = DTYPE_OF.get(String(entry.dtype));
  if (dtype === undefined) {
    return fail(`${what}: element type ${entry.dtype} is not supported; ${[...DTYPE_OF.keys()].join(", ")} are`);
  }
  if (!Array.isArray(shape) || !shape.every(whole)) return fail(`damaged: ${what}: shape is not a list of sizes`);
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(whole)) {
    return fail(`damaged: ${what}: data_offsets is not a pair of byte positions`);
  }
  const [begin, end] = offsets;
  const expected = sizeOf(shape) * DTYPE_BYTES[dtype];
  if (end - begin !== expected) {
    return fail(`damaged: ${what}: [${shape}] of ${dtype} expects ${expected} bytes, got ${end - begin}`);
  }
  return { name, dtype, shape: shape as number[], begin: begin as number, end: end as number };
}

/**
 * Throws unless the tensors, in the order of their positions, cover the data exactly: no overlaps, no holes, no rest.
 */
function requireDense(
  spans: readonly { name: string; begin: number; end: number }[],
  available: number,
  fail: (message: string) => never,
): void {
  let end = 0;
  for (const span of spans) {
    if (span.begin !== end) {
      const kind = span.begin < end ? "overlaps the tensor before it" : "leaves a hole before it";
      fail(`damaged: tensor ${JSON.stringify(span.name)} ${kind}: expected to begin at ${end}, got ${span.begin}`);
    }
    end = span.end;
  }
  if (end > available) fail(`truncated: expected ${end} bytes of values, got ${available}`);
  if (end < available) fail(`damaged: expected ${end} bytes of values, got ${available}`);
}
