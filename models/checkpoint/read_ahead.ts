/**
 * Reads a checkpoint in a planned order: the next tensor is being read while the caller works with the last one. Memory
 * is reused, because touching new memory takes as long as reading from a fast disk. Reads out of order go to the
 * source.
 */
import { sizeOf, stridesOf } from "../../core/tensor/shape.ts";
import { f32ToF16 } from "./half.ts";
import type { TensorInfo, TensorSource } from "./source.ts";
import { type StoredTensor } from "./stored.ts";

/** One planned read. */
export interface PlannedRead {
  readonly name: string;
  /** Type of the values. */
  readonly as: "f32" | "f16";
}

type Values = Float32Array<ArrayBuffer> | Uint16Array<ArrayBuffer>;

/** Smaller tensors (in elements) are not read ahead: they would take the turn of one that is worth it. */
const smallest = 1 << 18;

/**
 * `source` with its large tensors read ahead in the order of `plan`: returning one starts the next. **Values are valid
 * until the next read.** Memory is that of the two largest tensors. An error rejects the read that it belongs to.
 */
export function readAhead(source: TensorSource, plan: readonly PlannedRead[]): TensorSource {
  const indices = new Map(plan.map(({ name }, index) => [name, index]));
  const isLarge = ({ name }: PlannedRead) => {
    const tensor = source.tensors.get(name);
    return tensor !== undefined && sizeOf(tensor.shape) >= smallest;
  };
  const buffers = [new ReusedBuffer(source), new ReusedBuffer(source)];
  let turn = 0;
  let next: { index: number; values: Promise<Values> } | undefined;
  const start = (index: number) => {
    const values = buffers[turn++ % 2].read(plan[index]);
    values.catch(() => {}); // rethrown by the read that wants it
    next = { index, values };
  };
  const read = async (name: string, as: "f32" | "f16"): Promise<Values> => {
    const index = indices.get(name);
    if (index === undefined || plan[index].as !== as || !isLarge(plan[index])) {
      return as === "f32" ? await source.readF32(name) : await source.readF16(name);
    }
    if (next?.index !== index) {
      await next?.values.catch(() => {}); // it may be writing into the buffer needed now
      start(index);
    }
    const values = await next!.values;
    let after = index + 1;
    while (after < plan.length && !isLarge(plan[after])) after++;
    if (after < plan.length) start(after);
    else next = undefined;
    return values;
  };
  return {
    label: source.label,
    tensors: source.tensors,
    readF32: (name) => read(name, "f32") as Promise<Float32Array<ArrayBuffer>>,
    readF16: (name) => read(name, "f16") as Promise<Uint16Array<ArrayBuffer>>,
    readI32: (name) => source.readI32(name),
    close: () => source.close(),
  };
}

/** Values to round are read in pieces of this many: one is read while another is rounded. */
const piece = 1 << 20;

/** Memory that is reused from tensor to tensor. */
class ReusedBuffer {
  #memory = new ArrayBuffer(0);
  #pieces: Float32Array<ArrayBuffer>[] = [];

  constructor(readonly source: TensorSource) {}

  /** Values of a tensor, in this buffer where the file has them as one run of f32 or f16. */
  async read({ name, as }: PlannedRead): Promise<Values> {
    const tensor = this.source.tensors.get(name);
    if (tensor === undefined || !isOneRun(tensor) || (tensor.dtype !== as && tensor.dtype !== "f32")) {
      return as === "f32" ? await this.source.readF32(name) : await this.source.readF16(name);
    }
    const count = sizeOf(tensor.shape);
    const bytes = count * (as === "f32" ? 4 : 2);
    if (this.#memory.byteLength < bytes) this.#memory = new ArrayBuffer(bytes);
    try {
      if (tensor.dtype !== as) return await this.#rounded(tensor, new Uint16Array(this.#memory, 0, count));
      await tensor.storage.read(tensor.offset * bytes / count, new Uint8Array(this.#memory, 0, bytes));
    } catch (cause) {
      const message = cause instanceof Error ? cause.message : String(cause);
      throw new Error(`${this.source.label}: tensor ${JSON.stringify(name)}: ${message}`, { cause });
    }
    return as === "f32" ? new Float32Array(this.#memory, 0, count) : new Uint16Array(this.#memory, 0, count);
  }

  /** float32 values as halves. */
  async #rounded(tensor: StoredTensor, out: Uint16Array<ArrayBuffer>): Promise<Values> {
    if (this.#pieces.length === 0) this.#pieces = [new Float32Array(piece), new Float32Array(piece)];
    const load = async (from: number) => {
      const values = this.#pieces[from / piece % 2].subarray(0, Math.min(piece, out.length - from));
      await tensor.storage.read((tensor.offset + from) * 4, new Uint8Array(values.buffer, 0, values.byteLength));
      return values;
    };
    let next = load(0);
    for (let from = 0; from < out.length; from += piece) {
      const values = await next;
      if (from + piece < out.length) {
        next = load(from + piece);
        next.catch(() => {}); // thrown when its turn comes
      }
      f32ToF16(values, out.subarray(from, from + values.length));
    }
    return out;
  }
}

/** Whether a tensor is stored contiguously in a file. */
function isOneRun(tensor: TensorInfo): tensor is StoredTensor {
  if (!("storage" in tensor)) return false;
  const { shape, strides } = tensor as StoredTensor;
  const plain = stridesOf(shape);
  return sizeOf(shape) > 0 && shape.every((size, axis) => size === 1 || strides[axis] === plain[axis]);
}
