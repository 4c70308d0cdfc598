/**
 * A tensor: a shape, a type and a piece of device memory, row-major and contiguous.
 * It has no views and no hidden copies to the host; arithmetic is in ops/, lifetime in scope.ts.
 */
import { bytesPerElement, type Device } from "./device.ts";
import type { DType, Storage } from "./kernels.ts";
import { currentScope } from "./scope.ts";
import { formatShape, type Shape, sizeOf } from "./shape.ts";
import { recordReshape } from "./tape.ts";

/** Order of the elements: row-major, or the device's own for a packed weight of a linear map or a convolution. */
export type Layout = "dense" | "linear" | "conv";

/** Storage that reshaped tensors share; freed with the last of them. */
interface SharedStorage {
  readonly storage: Storage;
  references: number;
}

/** A shape, a type and device memory. It lives until its scope ends or it is disposed. */
export class Tensor {
  /** Sizes of all axes. */
  readonly shape: Shape;
  /** Element type. */
  readonly dtype: DType;
  /** Where the memory is. */
  readonly device: Device;
  /** Order of the elements. */
  readonly layout: Layout;
  #shared: SharedStorage | null;

  /** Takes over `storage`. For ops and devices; others make tensors with the functions of create.ts. */
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

  /** Number of axes. */
  get rank(): number {
    return this.shape.length;
  }

  /** Bytes of the elements, as a dense tensor has them. */
  get bytes(): number {
    return this.size * bytesPerElement(this.dtype);
  }

  /** Whether `dispose` was called, by hand or by a scope. */
  get disposed(): boolean {
    return this.#shared === null;
  }

  /** The device memory. Throws Error after `dispose`. */
  get storage(): Storage {
    if (this.#shared === null) throw new Error(`tensor ${formatShape(this.shape)} was used after it was disposed`);
    return this.#shared.storage;
  }

  /**
   * The same elements under another shape, without a copy; one size may be -1. Throws TypeError when it does not fit.
   */
  reshape(...shape: number[]): Tensor {
    void this.storage;
    const resolved = resolveShape(this.shape, shape);
    if (this.layout !== "dense") throw new TypeError("reshape: expected a dense tensor, got a packed weight");
    const result = new Tensor(this.device, resolved, this.dtype, this.#shared!);
    recordReshape(this, result);
    return result;
  }

  /** Another tensor over the same memory, to be disposed separately. The tape does not connect the two. */
  alias(): Tensor {
    void this.storage;
    return new Tensor(this.device, this.shape, this.dtype, this.#shared!, this.layout);
  }

  /** Reads f32 elements back, row-major. Rejects with TypeError for another type, with Error if a kernel failed. */
  async data(): Promise<Float32Array<ArrayBuffer>> {
    this.#expect("data", ["f32"]);
    return new Float32Array(await this.device.read(this.storage, this.bytes), 0, this.size);
  }

  /** Reads i32 or u32 elements back, row-major. Errors as in `data`. */
  async ints(): Promise<Int32Array<ArrayBuffer>> {
    this.#expect("ints", ["i32", "u32"]);
    return new Int32Array(await this.device.read(this.storage, this.bytes), 0, this.size);
  }

  /** Reads the only element of a tensor of size 1. Rejects with TypeError for another size. */
  async item(): Promise<number> {
    if (this.size !== 1) throw new TypeError(`item: expected one element, got shape ${formatShape(this.shape)}`);
    return this.dtype === "f32" ? (await this.data())[0] : (await this.ints())[0];
  }

  /** Frees the memory, once the last tensor that shares it is disposed. A second call does nothing. */
  dispose(): void {
    const shared = this.#shared;
    if (shared === null) return;
    this.#shared = null;
    if (--shared.references === 0) this.device.free(shared.storage);
  }

  /** `dispose`, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  #expect(what: string, dtypes: readonly DType[]): void {
    if (this.layout !== "dense") throw new TypeError(`${what}: a packed weight cannot be read back`);
    if (!dtypes.includes(this.dtype)) {
      throw new TypeError(`${what}: expected ${dtypes.join(" or ")}, got ${this.dtype} ${formatShape(this.shape)}`);
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
      throw new TypeError(`reshape: ${formatShape(from)} does not fit ${formatShape(to)}`);
    }
    shape[unknown] = size / rest;
  }
  if (shape.some((d) => !Number.isInteger(d) || d < 0) || sizeOf(shape) !== size) {
    throw new TypeError(`reshape: ${formatShape(from)} does not fit ${formatShape(to)}`);
  }
  return shape;
}
