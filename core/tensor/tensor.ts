/**
 * A tensor: a shape, a type and a piece of device memory, row-major and contiguous.
 * It has no views and no hidden copies to the host; arithmetic is in ops/, lifetime in scope.ts.
 */
import { bytesPerElement, type Device } from "./device.ts";
import type { DType, Storage } from "./kernels.ts";
import { currentScope } from "./scope.ts";
import { formatShape, type Shape, sizeOf } from "./shape.ts";
import { recordReshape } from "./tape.ts";

/** How the elements lie: in row-major order, or re-laid by the device as a weight of a linear map or a convolution. */
export type Layout = "dense" | "linear" | "conv";

/** Storage that tensors of different shape may share (see `reshape`); freed with the last of them. */
interface SharedStorage {
  readonly storage: Storage;
  references: number;
}

export class Tensor {
  readonly shape: Shape;
  readonly dtype: DType;
  readonly device: Device;
  readonly layout: Layout;
  #shared: SharedStorage | null;

  /** Takes over `storage`. Used by `empty`, ops and devices; everyone else creates tensors with the functions of create.ts. */
  constructor(device: Device, shape: Shape, dtype: DType, storage: Storage | SharedStorage, layout: Layout = "dense") {
    this.device = device;
    this.shape = shape;
    this.dtype = dtype;
    this.layout = layout;
    this.#shared = "references" in storage ? storage : { storage, references: 0 };
    this.#shared.references++;
    currentScope()?.add(this);
  }

  /** Number of elements. */
  get size(): number {
    return sizeOf(this.shape);
  }

  get rank(): number {
    return this.shape.length;
  }

  get bytes(): number {
    return this.size * bytesPerElement(this.dtype);
  }

  get disposed(): boolean {
    return this.#shared === null;
  }

  /** The device memory. Throws after `dispose`. */
  get storage(): Storage {
    if (this.#shared === null) throw new Error(`tensor ${formatShape(this.shape)} was used after it was disposed`);
    return this.#shared.storage;
  }

  /** The same elements under another shape, without a copy; one dimension may be -1. */
  reshape(...shape: number[]): Tensor {
    void this.storage;
    const resolved = resolveShape(this.shape, shape);
    if (this.layout !== "dense") throw new Error("reshape: expected a dense tensor, got a packed weight");
    const result = new Tensor(this.device, resolved, this.dtype, this.#shared!);
    recordReshape(this, result);
    return result;
  }

  /** Another tensor over the same memory, disposed on its own. The tape does not connect the two. */
  alias(): Tensor {
    void this.storage;
    return new Tensor(this.device, this.shape, this.dtype, this.#shared!, this.layout);
  }

  /** Reads f32 elements back, row-major. The only way, with `ints`, in which results reach the host. */
  async data(): Promise<Float32Array<ArrayBuffer>> {
    this.#expect("data", ["f32"]);
    return new Float32Array(await this.device.read(this.storage, this.bytes), 0, this.size);
  }

  /** Reads i32 or u32 elements back, row-major. */
  async ints(): Promise<Int32Array<ArrayBuffer>> {
    this.#expect("ints", ["i32", "u32"]);
    return new Int32Array(await this.device.read(this.storage, this.bytes), 0, this.size);
  }

  /** Reads the single element of a tensor of size 1. */
  async item(): Promise<number> {
    if (this.size !== 1) throw new Error(`item: expected one element, got shape ${formatShape(this.shape)}`);
    return this.dtype === "f32" ? (await this.data())[0] : (await this.ints())[0];
  }

  /** Gives the memory back (once the last tensor that shares it is disposed). Disposing twice is harmless. */
  dispose(): void {
    const shared = this.#shared;
    if (shared === null) return;
    this.#shared = null;
    if (--shared.references === 0) this.device.free(shared.storage);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #expect(what: string, dtypes: readonly DType[]): void {
    if (this.layout !== "dense") throw new Error(`${what}: a packed weight cannot be read back`);
    if (!dtypes.includes(this.dtype)) {
      throw new Error(`${what}: expected ${dtypes.join(" or ")}, got ${this.dtype} ${formatShape(this.shape)}`);
    }
  }
}

function resolveShape(from: Shape, to: readonly number[]): number[] {
  const size = sizeOf(from);
  const unknown = to.indexOf(-1);
  const shape = [...to];
  if (unknown >= 0) {
    const rest = -sizeOf(to);
    if (rest === 0 || size % rest !== 0) {
      throw new Error(`reshape: ${formatShape(from)} does not fit ${formatShape(to)}`);
    }
    shape[unknown] = size / rest;
  }
  if (shape.some((d) => !Number.isInteger(d) || d < 0) || sizeOf(shape) !== size) {
    throw new Error(`reshape: ${formatShape(from)} does not fit ${formatShape(to)}`);
  }
  return shape;
}
