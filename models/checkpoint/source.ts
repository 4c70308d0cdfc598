/**
 * What the rest of the project sees of a checkpoint: a set of named tensors that are read one at a time.
 * It is deliberately neither a container format (torch_zip.ts, torch_legacy.ts, safetensors.ts, synthetic.ts) nor a
 * check that the names fit a network (load.ts).
 */

import { openWithFormat } from "./open.ts";

/** Element type as stored in the file. */
export type StoredDType = "f64" | "f32" | "f16" | "bf16" | "i64" | "i32" | "i16" | "i8" | "u8" | "bool";

/** Name, shape (row-major, outermost dimension first; `[]` for a scalar) and stored element type of one tensor. */
export interface TensorInfo {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: StoredDType;
}

/** Named tensors that are read one at a time; opening one reads only its index. */
export interface TensorSource {
  /** File name (never an absolute path) or `synthetic:<salt>`, for messages. */
  readonly label: string;
  /** In file order. */
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /** Values as float32, logical row-major order. */
  readF32(name: string): Promise<Float32Array<ArrayBuffer>>;
  /** IEEE half bits, row-major: as stored when f16, else rounded to nearest even from the stored values. */
  readF16(name: string): Promise<Uint16Array<ArrayBuffer>>;
  /** Integer and bool tensors; an i64 value that does not fit 32 bits is an error. */
  readI32(name: string): Promise<Int32Array<ArrayBuffer>>;
  close(): void;
}

/**
 * Opens a safetensors file, a PyTorch zip file or a legacy PyTorch file, decided by its first bytes and never by its
 * name.
 *
 * Throws an error that begins with the file's name when it is none of these, is truncated, or asks for a Python global
 * that is not on the allow-list.
 */
export async function openCheckpoint(path: string): Promise<TensorSource> {
  return (await openWithFormat(path)).source;
}
