/**
 * Tensors in a file (element type, strides, a span of bytes), and their conversion to typed arrays piece by piece.
 * The formats find the spans.
 */

import { sizeOf, stridesOf } from "../../core/tensor/shape.ts";
import type { ByteRange } from "./bytes.ts";
import { bf16ToF32, f16ToF32, f32ToF16 } from "./half.ts";
import type { StoredDType, TensorInfo, TensorSource } from "./source.ts";

/** Bytes per element. */
export const DTYPE_BYTES: Readonly<Record<StoredDType, number>> = {
  f64: 8,
  f32: 4,
  f16: 2,
  bf16: 2,
  i64: 8,
  i32: 4,
  i16: 2,
  i8: 1,
  u8: 1,
  bool: 1,
};

/** A tensor inside a span of bytes (a storage). */
export interface StoredTensor extends TensorInfo {
  readonly storage: ByteRange;
  /** First element, counted in elements from the storage's first byte. */
  readonly offset: number;
  /** Distance between neighbours along each dimension, in elements. */
  readonly strides: readonly number[];
}

/** Bytes converted at a time: large tensors need no second copy in memory. */
const CHUNK = 1 << 20;
/** Bytes of a view with gaps that are read at a time. */
const WINDOW = 4 << 20;
/** Most elements of a view that repeats elements (stride 0) and so is larger than its storage. */
const MAX_REPEATED = 1 << 26;

/**
 * Checks that shape and strides are possible and that every element lies inside the storage; throws with what was
 * expected and got.
 */
function requireStored(tensor: StoredTensor): void {
  const { name, shape, strides, offset, dtype, storage } = tensor;
  const what = `tensor ${JSON.stringify(name)}`;
  if (shape.length > 32) throw new Error(`${what}: has ${shape.length} dimensions; at most 32 are read`);
  if (strides.length !== shape.length) {
    throw new Error(`${what}: expects ${shape.length} strides, got ${strides.length}`);
  }
  for (const value of [...shape, ...strides, offset]) {
    if (!Number.isSafeInteger(value) || value < 0) {
      throw new Error(`${what}: shape, strides and offset must be whole numbers from 0 on, got ${value}`);
    }
  }
  const count = sizeOf(shape);
  if (!Number.isSafeInteger(count)) throw new Error(`${what}: shape [${shape}] has too many elements`);
  if (count === 0) return;
  const end = offset + spanOf(shape, strides);
  const available = Math.floor(storage.size / DTYPE_BYTES[dtype]);
  if (!Number.isSafeInteger(end) || end > available) {
    throw new Error(`${what}: needs ${end} elements of its storage, got ${available}: truncated or damaged`);
  }
  if (count > available && count > MAX_REPEATED) {
    throw new Error(`${what}: repeats ${available} stored elements to ${count}; at most ${MAX_REPEATED} are built`);
  }
}

/** Elements from the first to the last of a strided view. */
function spanOf(shape: readonly number[], strides: readonly number[]): number {
  return shape.reduce((last, size, axis) => last + (size - 1) * strides[axis], 0) + 1;
}

function isContiguous(shape: readonly number[], strides: readonly number[]): boolean {
  const expected = stridesOf(shape);
  return shape.every((size, axis) => size === 1 || strides[axis] === expected[axis]);
}

function view<T>(
  make: new (buffer: ArrayBuffer, offset: number, length: number) => T,
  bytes: Uint8Array<ArrayBuffer>,
  size: number,
): T {
  return new make(bytes.buffer, bytes.byteOffset, bytes.length / size);
}

/** A whole number as float32, rounded once (through float64 it would be rounded twice beyond 2^53). */
function bigToF32(value: bigint): number {
  if (value >= -0x20000000000000n && value <= 0x20000000000000n) return Math.fround(Number(value));
  // The lowest kept bit is set if any bit below was, so that near-ties are not rounded like ties.
  const kept = (value >> 16n) | (BigInt.asUintN(16, value) === 0n ? 0n : 1n);
  return Math.fround(Number(kept) * 65536);
}

function toF32(bytes: Uint8Array<ArrayBuffer>, dtype: StoredDType, out: Float32Array<ArrayBuffer>): void {
  switch (dtype) {
    case "f32":
      return out.set(view(Float32Array<ArrayBuffer>, bytes, 4));
    case "f64":
      return out.set(view(Float64Array<ArrayBuffer>, bytes, 8));
    case "f16":
      return void f16ToF32(view(Uint16Array<ArrayBuffer>, bytes, 2), out);
    case "bf16":
      return void bf16ToF32(view(Uint16Array<ArrayBuffer>, bytes, 2), out);
    case "i64":
      return view(BigInt64Array<ArrayBuffer>, bytes, 8).forEach((value, i) => out[i] = bigToF32(value));
    case "i32":
      return out.set(view(Int32Array<ArrayBuffer>, bytes, 4));
    case "i16":
      return out.set(view(Int16Array<ArrayBuffer>, bytes, 2));
    case "i8":
      return out.set(view(Int8Array<ArrayBuffer>, bytes, 1));
    case "u8":
      return out.set(bytes);
    case "bool":
      for (let i = 0; i < bytes.length; i++) out[i] = bytes[i] === 0 ? 0 : 1;
  }
}

function toF16(bytes: Uint8Array<ArrayBuffer>, dtype: StoredDType, out: Uint16Array<ArrayBuffer>): void {
  switch (dtype) {
    case "f16":
      return out.set(view(Uint16Array<ArrayBuffer>, bytes, 2));
    case "f32":
      return void f32ToF16(view(Float32Array<ArrayBuffer>, bytes, 4), out);
    case "f64":
      return void f32ToF16(view(Float64Array<ArrayBuffer>, bytes, 8), out);
    case "i64": // beyond 2^53 every value is infinity in half precision, so the first rounding cannot matter
      return void f32ToF16(Float64Array.from(view(BigInt64Array<ArrayBuffer>, bytes, 8), Number), out);
    case "i32":
      return void f32ToF16(Float64Array.from(view(Int32Array<ArrayBuffer>, bytes, 4)), out);
    default: { // every value of these types is a float32
      const values = new Float32Array(out.length);
      toF32(bytes, dtype, values);
      f32ToF16(values, out);
    }
  }
}

function toI32(bytes: Uint8Array<ArrayBuffer>, dtype: StoredDType, out: Int32Array<ArrayBuffer>): void {
  switch (dtype) {
    case "i64":
      return view(BigInt64Array<ArrayBuffer>, bytes, 8).forEach((value, i) => {
        if (value !== BigInt.asIntN(32, value)) throw new Error(`expects values that fit 32 bits, got ${value}`);
        out[i] = Number(value);
      });
    case "i32":
      return out.set(view(Int32Array<ArrayBuffer>, bytes, 4));
    case "i16":
      return out.set(view(Int16Array<ArrayBuffer>, bytes, 2));
    case "i8":
      return out.set(view(Int8Array<ArrayBuffer>, bytes, 1));
    case "u8":
      return out.set(bytes);
    case "bool":
      for (let i = 0; i < bytes.length; i++) out[i] = bytes[i] === 0 ? 0 : 1;
      return;
    default:
      throw new Error(`expects an integer or bool tensor, got ${dtype}`);
  }
}

type Words =
  | Uint8Array<ArrayBuffer>
  | Uint16Array<ArrayBuffer>
  | Uint32Array<ArrayBuffer>
  | BigUint64Array<ArrayBuffer>;

/** Puts strided views in row-major order, one after the other. */
class RowWriter {
  #position = 0;

  constructor(readonly into: Words) {}

  /** Appends the elements of a view of `from` from axis `axis` on; its first element is at `start`. */
  append(
    from: Words,
    view: { readonly shape: readonly number[]; readonly strides: readonly number[] },
    start = 0,
    axis = 0,
  ) {
    const { shape, strides } = view;
    if (axis === shape.length) {
      this.into[this.#position++] = from[start];
      return;
    }
    const size = shape[axis], stride = strides[axis];
    if (axis === shape.length - 1) {
      let position = this.#position;
      for (let i = 0, at = start; i < size; i++, at += stride) this.into[position++] = from[at];
      this.#position = position;
      return;
    }
    for (let i = 0; i < size; i++) this.append(from, view, start + i * stride, axis + 1);
  }
}

/** Bytes of a tensor that is not contiguous, in row-major order, in the stored type. */
async function readStrided(tensor: StoredTensor): Promise<Uint8Array<ArrayBuffer>> {
  const { storage, shape, strides } = tensor;
  const size = DTYPE_BYTES[tensor.dtype];
  const make = { 1: Uint8Array, 2: Uint16Array, 4: Uint32Array, 8: BigUint64Array }[size]!;
  const rows = new Uint8Array(sizeOf(shape) * size);
  const writer = new RowWriter(new make(rows.buffer));
  // A transposed tensor is read whole and then put in order. A view of a small part (a column) is read window by
  // window, so that memory is in proportion to the tensor and not to its storage.
  const window = Math.max(WINDOW, 4 * rows.length);
  const readView = async (view: { shape: readonly number[]; strides: readonly number[] }, start: number) => {
    const span = new Uint8Array(spanOf(view.shape, view.strides) * size);
    await storage.read(start * size, span);
    writer.append(new make(span.buffer), view);
  };
  const walk = async (axis: number, start: number): Promise<void> => {
    const inner = shape.slice(axis), steps = strides.slice(axis);
    if (axis === shape.length || spanOf(inner, steps) * size <= window) {
      await readView({ shape: inner, strides: steps }, start);
    } else if (axis === shape.length - 1) {
      const block = Math.max(1, Math.floor(window / (steps[0] * size)));
      for (let i = 0; i < inner[0]; i += block) {
        const count = Math.min(block, inner[0] - i);
        await readView({ shape: [count], strides: steps }, start + i * steps[0]);
      }
    } else {
      for (let i = 0; i < inner[0]; i++) await walk(axis + 1, start + i * steps[0]);
    }
  };
  await walk(0, tensor.offset);
  return rows;
}

/** The tensors of one open file. */
export class StoredTensors implements TensorSource {
  readonly label: string;
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  readonly #close: () => void;

  /** Checks every tensor against its storage; `close` is called once, by {@link close}. */
  constructor(label: string, tensors: Iterable<StoredTensor>, close: () => void) {
    this.label = label;
    this.#close = close;
    const byName = new Map<string, StoredTensor>();
    for (const tensor of tensors) {
      try {
        if (byName.has(tensor.name)) throw new Error(`tensor ${JSON.stringify(tensor.name)}: two have this name`);
        requireStored(tensor);
      } catch (error) {
        throw new Error(`${label}: ${error instanceof Error ? error.message : error}`);
      }
      byName.set(tensor.name, tensor);
    }
    this.tensors = byName;
  }

  readF32(name: string): Promise<Float32Array<ArrayBuffer>> {
    return this.#read("readF32", name, (length) => new Float32Array(length), "f32", toF32);
  }

  readF16(name: string): Promise<Uint16Array<ArrayBuffer>> {
    return this.#read("readF16", name, (length) => new Uint16Array(length), "f16", toF16);
  }

  readI32(name: string): Promise<Int32Array<ArrayBuffer>> {
    return this.#read("readI32", name, (length) => new Int32Array(length), "i32", toI32);
  }

  close(): void {
    this.#close();
  }

  async #read<T extends Float32Array<ArrayBuffer> | Uint16Array<ArrayBuffer> | Int32Array<ArrayBuffer>>(
    operation: string,
    name: string,
    make: (length: number) => T,
    asStored: StoredDType,
    convert: (bytes: Uint8Array<ArrayBuffer>, dtype: StoredDType, out: T) => void,
  ): Promise<T> {
    const tensor = this.tensors.get(name);
    if (tensor === undefined) {
      throw new Error(`${this.label}: ${operation}: no tensor is named ${JSON.stringify(name)}`);
    }
    const { dtype, shape, strides, storage } = tensor;
    const count = sizeOf(shape);
    const size = DTYPE_BYTES[dtype];
    try {
      const out = make(count);
      if (count === 0) convert(new Uint8Array(0), dtype, out); // for its check of the type
      if (count === 0) return out;
      const start = tensor.offset * size;
      if (!isContiguous(shape, strides)) {
        convert(await readStrided(tensor), dtype, out);
      } else if (dtype === asStored) { // straight into place
        await storage.read(start, new Uint8Array(out.buffer));
      } else {
        const chunk = new Uint8Array(Math.min(CHUNK, count * size));
        for (let first = 0; first < count; first += CHUNK / size) {
          const last = Math.min(count, first + CHUNK / size);
          const bytes = chunk.subarray(0, (last - first) * size);
          await storage.read(start + first * size, bytes);
          convert(bytes, dtype, out.subarray(first, last) as T);
        }
      }
      return out;
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      const rest = message.startsWith(`${this.label}: `) ? message.slice(this.label.length + 2) : message;
      throw new Error(`${this.label}: ${operation}: tensor ${JSON.stringify(name)}: ${rest}`, { cause: error });
    }
  }
}
