/**
 * A checkpoint as the rest of the project sees it: named tensors that are read one at a time.
 * Sources of them: files (open.ts), synthetic weights (synthetic.ts), and other sources in part or under other names
 * (prefix.ts, ../overlay.ts). load.ts checks that the names fit a network.
 */

/** Element type as stored in the file. */
export type StoredDType = "f64" | "f32" | "f16" | "bf16" | "i64" | "i32" | "i16" | "i8" | "u8" | "bool";

/** A tensor in the index of a checkpoint. */
export interface TensorInfo {
  /** As in the file; dots separate modules. */
  readonly name: string;
  /** Row-major, outermost dimension first; `[]` for a scalar. */
  readonly shape: readonly number[];
  /** Element type in the file. */
  readonly dtype: StoredDType;
}

/** Named tensors that are read one at a time; opening one reads only its index. */
export interface TensorSource {
  /** File name (never an absolute path) or `synthetic:<salt>`, for messages. */
  readonly label: string;
  /** The index, in file order. */
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /** Values as float32, row-major. Rejects for an unknown name, naming it. */
  readF32(name: string): Promise<Float32Array<ArrayBuffer>>;
  /** IEEE half bits, row-major: as stored when f16, else rounded to nearest even from the stored values. */
  readF16(name: string): Promise<Uint16Array<ArrayBuffer>>;
  /** Values of an integer or bool tensor. Rejects for other types, and for i64 values that do not fit 32 bits. */
  readI32(name: string): Promise<Int32Array<ArrayBuffer>>;
  /** Closes the file. Reading afterwards is an error. */
  close(): void;
}
