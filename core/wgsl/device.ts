/**
 * The WebGPU device: memory, order of commands, reading back, errors. The kernels are in kernels/.
 * It never waits for the GPU except in `read` and `sync`.
 */
import { kernelWork } from "../tensor/work.ts";
import type { Device, DeviceInfo, MemoryUse } from "../tensor/device.ts";
import type { KernelImplementations, KernelName, Kernels, Storage } from "../tensor/kernels.ts";
import { DeviceError } from "../../util/errors.ts";
import type { Arithmetic, OpenedAdapter, Tiles } from "./adapter.ts";
import { cardOf } from "./card.ts";
import type { Context } from "./context.ts";
import { kernelTable, packedBytes } from "./kernels/table.ts";
import {
  GpuStorage,
  Pool,
  type PoolHooks,
  type Resource,
  type Slot,
  type Texture,
  type TextureFormat,
} from "./pool.ts";
import { availableBytes } from "./probe.ts";
import type { Groups, Program } from "./program.ts";
import { Recorder, type TextureRect } from "./recorder.ts";
import { Scheduler } from "./schedule.ts";

export interface WebGpuDeviceOptions {
  /** Default: what MODEL_TRACER_TILES says, else "auto". */
  readonly tiles?: Tiles;
  /** Default: what MODEL_TRACER_ARITHMETIC says, else "f32". */
  readonly arithmetic?: Arithmetic;
  /** As `Device.limitMemory`. */
  readonly memoryBytes?: number;
}

/** Readback buffers kept for reuse. */
const maxReadbackBuffers = 4;

export class WebGpuDevice implements Device, Context {
  readonly info: DeviceInfo;
  readonly tiles: "hardware" | "software";
  readonly arithmetic: Arithmetic;
  scheduler: Scheduler;
  readonly empty: Storage;
  readonly recorder: Recorder;
  readonly #pool: Pool;
  readonly #kernels: KernelImplementations;
  readonly #readback: GPUBuffer[] = [];
  #closed = false;

  constructor(readonly adapter: OpenedAdapter, options: WebGpuDeviceOptions) {
    const { gpu, name, software } = adapter;
    this.tiles = options.tiles === undefined || options.tiles === "auto"
      ? (software ? "software" : "hardware")
      : options.tiles;
    this.arithmetic = options.arithmetic ?? "f32";
    const half = this.arithmetic === "f16";
    if (half && (this.tiles === "software" || !gpu.features.has("shader-f16"))) {
      gpu.destroy();
      throw new DeviceError(
        `webgpu: products in f16 need an adapter with the feature shader-f16 and tiles for hardware; ${name} has ` +
          `${this.tiles === "software" ? "tiles for software" : "no shader-f16"}. Leave arithmetic at f32`,
      );
    }
    // A buffer is bound whole, in multiples of 256 bytes.
    const { maxStorageBufferBindingSize, maxBufferSize } = gpu.limits;
    const most = Math.min(maxStorageBufferBindingSize, maxBufferSize, adapter.maxAllocationBytes ?? Infinity);
    const maxTensorBytes = Math.floor(most / 256) * 256;
    this.info = { kind: "webgpu", name: half ? `${name}, products in f16` : name, software, maxTensorBytes };
    this.scheduler = new Scheduler(cardOf(name));
    this.recorder = new Recorder(gpu);
    const hooks: PoolHooks = {
      creating: (what, work) => this.recorder.creating(what, work),
      destroying: (resource) => this.recorder.forget(resource),
    };
    this.#pool = new Pool(gpu, maxTensorBytes, hooks, options.memoryBytes);
    const empty = gpu.createBuffer({ label: "empty", size: 256, usage: GPUBufferUsage.STORAGE });
    this.empty = new GpuStorage(256, {
      id: 0,
      buffer: empty,
      bytes: 256,
      binding: { buffer: empty },
      lastBatch: -1,
      freedAt: 0,
      doomed: false,
    });
    this.#kernels = kernelTable(this);
  }

  alloc(bytes: number): GpuStorage {
    this.recorder.check();
    return this.#pool.alloc(bytes);
  }

  scratch(bytes: number): GpuStorage {
    this.recorder.check();
    return this.#pool.alloc(bytes, true);
  }

  free(storage: Storage): void {
    if (this.#closed) return;
    this.#pool.free(this.#checked(storage, "free"));
  }

  write(storage: Storage, data: ArrayBufferView): void {
    const slot = this.#slot(storage, "write");
    if (data.byteLength > storage.bytes) {
      throw new Error(`webgpu write: ${data.byteLength} bytes do not fit into storage of ${storage.bytes}`);
    }
    if (data.byteLength === 0) return;
    if (data.buffer instanceof ArrayBuffer && data.byteLength % 4 === 0 && data.byteOffset % 4 === 0) {
      this.recorder.write(slot, data.buffer, data.byteOffset, data.byteLength);
    } else {
      // Shared memory cannot be given to the queue, and it takes multiples of 4 bytes only.
      const copy = new Uint8Array(Math.ceil(data.byteLength / 4) * 4);
      copy.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
      this.recorder.write(slot, copy.buffer, 0, copy.byteLength);
    }
  }

  async read(storage: Storage, bytes: number): Promise<ArrayBuffer> {
    const slot = this.#slot(storage, "read");
    if (bytes > storage.bytes) {
      throw new Error(`webgpu read: ${bytes} bytes wanted of storage that has ${storage.bytes}`);
    }
    const padded = Math.max(4, Math.ceil(bytes / 4) * 4);
    const buffer = this.#takeReadback(padded);
    this.recorder.copyToHost(slot, buffer, padded);
    let result: ArrayBuffer | undefined;
    let reason: unknown;
    try {
      await buffer.mapAsync(GPUMapMode.READ, 0, padded);
      result = buffer.getMappedRange(0, padded).slice(0, bytes);
      buffer.unmap();
      this.#returnReadback(buffer);
    } catch (error) {
      reason = error;
      buffer.destroy();
    }
    await this.#settle();
    if (!result) throw new Error(`webgpu read: ${reason}`);
    return result;
  }

  #takeReadback(bytes: number): GPUBuffer {
    const i = this.#readback.findIndex((b) => b.size >= bytes && b.size <= 4 * bytes + 65536);
    if (i >= 0) return this.#readback.splice(i, 1)[0];
    return this.recorder.creating(`readback buffer of ${bytes} bytes`, () =>
      this.adapter.gpu.createBuffer({
        label: "readback",
        size: Math.ceil(bytes / 4096) * 4096,
        usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
      }));
  }

  #returnReadback(buffer: GPUBuffer) {
    if (this.#closed || this.#readback.length >= maxReadbackBuffers) buffer.destroy();
    else this.#readback.push(buffer);
  }

  run<K extends KernelName>(kernel: K, args: Kernels[K]): void {
    this.recorder.expect(kernelWork(kernel, args));
    this.#kernels[kernel](args);
  }

  packedBytes(role: "linear" | "conv", shape: readonly number[], dtype: "f32" | "f16"): number {
    return packedBytes(this.tiles, role, shape, dtype);
  }

  async sync(): Promise<void> {
    this.recorder.check();
    this.recorder.submit();
    await this.adapter.gpu.queue.onSubmittedWorkDone();
    await this.#settle();
  }

  /** Waits for reports of errors, and throws the first. Then no allocation since the last wait is reused. */
  async #settle(): Promise<void> {
    const made = this.#pool.unsettled();
    try {
      await this.recorder.settle();
    } catch (error) {
      this.#pool.failed(made);
      throw error;
    }
    this.#pool.settled(made);
  }

  memory(): MemoryUse {
    return this.#pool.memory();
  }

  resetPeak(): void {
    this.#pool.resetPeak();
  }

  async availableBytes(most: number): Promise<number> {
    this.recorder.check();
    this.trim();
    return await availableBytes(this.adapter.gpu, Math.min(2 ** 30, this.info.maxTensorBytes), most);
  }

  limitMemory(bytes: number): void {
    this.#pool.limitBytes = bytes;
  }

  trim(): void {
    this.#pool.trim();
    for (const buffer of this.#readback.splice(0)) buffer.destroy();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.recorder.close();
    for (const buffer of this.#readback.splice(0)) buffer.destroy();
    this.adapter.gpu.destroy();
  }

  dispatch(
    program: Program,
    buffers: Readonly<Record<string, Storage | Texture>>,
    params: Record<string, number>,
    groups: Groups,
  ): void {
    const resources: Record<string, Resource> = {};
    for (const name in buffers) {
      const buffer = buffers[name];
      resources[name] = "binding" in buffer ? buffer : this.#slot(buffer, program.kernel);
    }
    this.recorder.dispatch(program, resources, params, groups);
  }

  get maxTextureSide(): number {
    return this.adapter.gpu.limits.maxTextureDimension2D;
  }

  allocTexture(width: number, height: number, format: TextureFormat, purpose: string): Texture {
    this.recorder.check();
    return this.#pool.allocTexture(width, height, format, purpose);
  }

  freeTexture(texture: Texture): void {
    this.#pool.freeTexture(texture);
  }

  copyToTexture(storage: Storage, offset: number, bytesPerRow: number, texture: Texture, rect: TextureRect): void {
    this.recorder.copyToTexture(this.#slot(storage, "copy to texture"), offset, bytesPerRow, texture, rect);
  }

  moveToTexture(storage: Storage, width: number, height: number, format: TextureFormat): void {
    const texture = this.allocTexture(width, height, format, "weight");
    const bytesPerRow = width * (format === "rgba16float" ? 8 : 16);
    this.copyToTexture(storage, 0, bytesPerRow, texture, { x: 0, y: 0, texels: width, rows: height });
    this.#pool.replaceByTexture(storage as GpuStorage, texture);
  }

  textureOf(storage: Storage, user: string): Texture {
    const texture = this.#checked(storage, user).texture;
    if (!texture) throw new Error(`webgpu ${user}: the weight is not packed, or was freed`);
    return texture;
  }

  #checked(storage: Storage, user: string): GpuStorage {
    if (!(storage instanceof GpuStorage)) throw new Error(`webgpu ${user}: the storage belongs to another device`);
    return storage;
  }

  #slot(storage: Storage, user: string): Slot {
    const { texture, slot } = this.#checked(storage, user);
    if (texture) throw new Error(`webgpu ${user}: a packed weight can be used by matmul and conv2d only`);
    if (!slot) throw new Error(`webgpu ${user}: the storage was freed before`);
    return slot;
  }
}
