/**
 * A checkpoint read from one end to the other: the next tensor is on its way while the last one is worked with, and the
 * same memory is used again and again, because touching new memory takes as long as reading from a fast disk.
 * It deliberately guesses nothing: out of the planned order it is the source itself.
 */
import { f32ToF16 } from "./half.ts";
import type { TensorInfo, TensorSource } from "./source.ts";
import { contiguousStrides, elementCount, type StoredTensor } from "./stored.ts";

/** One read that will come. */
export interface PlannedRead {
  readonly name: string;
  readonly as: "f32" | "f16";
}

type Values = Float32Array<ArrayBuffer> | Uint16Array<ArrayBuffer>;

/** Tensors of fewer values are read when they are asked for: they must not take the turn of one that is worth reading ahead. */
const smallest = 1 << 18;

/**
 * `source` with the reads of `plan` in order; that of the next large tensor is under way from the moment the one before it
 * is handed out. **Values are valid until the next read**; memory is that of the two largest tensors. Errors come with the
 * read that they belong to.
 */
export function readAhead(source: TensorSource, plan: readonly PlannedRead[]): TensorSource {
  const places = new Map(plan.map(({ name }, index) => [name, index]));
  const isLarge = ({ name }: PlannedRead) => {
    const tensor = source.tensors.get(name);
    return tensor !== undefined && elementCount(tensor.shape) >= smallest;
  };
  const buffers = [new ReusedBuffer(source), new ReusedBuffer(source)];
  let turn = 0;
  let next: { index: number; values: Promise<Values> } | undefined;
  const start = (index: number) => {
    const values = buffers[turn++ % 2].read(plan[index]);
    values.catch(() => {}); // thrown by the read that asks for it, or never asked for
    next = { index, values };
  };
  const read = async (name: string, as: "f32" | "f16"): Promise<Values> => {
    const index = places.get(name);
    if (index === undefined || plan[index].as !== as || !isLarge(plan[index])) {
      return as === "f32" ? await source.readF32(name) : await source.readF16(name);
    }
    if (next?.index !== index) {
      await next?.values.catch(() => {}); // it may be writing into the buffer that is wanted now
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

/** Values that are rounded on the way are read in pieces of so many: one is read while another is rounded. */
const piece = 1 << 20;

/** Memory for one tensor after the other. */
class ReusedBuffer {
  #memory = new ArrayBuffer(0);
  #pieces: Float32Array<ArrayBuffer>[] = [];

  constructor(readonly source: TensorSource) {}

  /** Values of a tensor; in this buffer where it lies in its file as one run of f32 or f16. */
  async read({ name, as }: PlannedRead): Promise<Values> {
    const tensor = this.source.tensors.get(name);
    if (tensor === undefined || !isOneRun(tensor) || (tensor.dtype !== as && tensor.dtype !== "f32")) {
      return as === "f32" ? await this.source.readF32(name) : await this.source.readF16(name);
    }
    const count = elementCount(tensor.shape);
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

/** Whether a tensor's values lie next to each other in a file. */
function isOneRun(tensor: TensorInfo): tensor is StoredTensor {
  if (!("storage" in tensor)) return false;
  const { shape, strides } = tensor as StoredTensor;
  const plain = contiguousStrides(shape);
  return elementCount(shape) > 0 && shape.every((size, axis) => size === 1 || strides[axis] === plain[axis]);
}
