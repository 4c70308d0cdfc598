/**
 * Allocates GPU buffers by size class and textures by shape, reuses freed ones, and counts bytes for `Device.memory`.
 * The caller decides when free memory may be destroyed.
 */
import type { MemoryUse } from "../tensor/device.ts";
import type { Storage } from "../tensor/kernels.ts";

/** A buffer or texture that a bind group can hold. Storages use it one after the other. */
export interface Resource {
  readonly id: number;
  readonly bytes: number;
  readonly binding: GPUBindingResource;
  /** Number of the last batch of commands that used it; see recorder.ts. */
  lastBatch: number;
}

/** A buffer. */
export interface Slot extends Resource {
  readonly buffer: GPUBuffer;
}

/** Formats of textures: four numbers per texel. */
export type TextureFormat = "rgba32float" | "rgba16float";

/** A two-dimensional texture of `width` x `height` texels of four numbers. */
export interface Texture extends Resource {
  readonly texture: GPUTexture;
  readonly width: number;
  readonly height: number;
  readonly key: string;
}

/**
 * Device memory from `Pool.alloc`: a buffer, or a texture for some packed weights. Both are undefined once freed.
 */
export class GpuStorage implements Storage {
  slot: Slot | undefined;
  texture: Texture | undefined;
  constructor(readonly bytes: number, slot: Slot) {
    this.slot = slot;
  }
}

/** `bytes` rounded up to a size class: multiples of 256, in steps of at most an eighth of the size. */
export function sizeClass(bytes: number): number {
  const needed = Math.max(256, Math.ceil(bytes / 256) * 256);
  if (needed <= 4096) return needed;
  const step = 2 ** (Math.floor(Math.log2(needed - 1)) - 3);
  return Math.ceil(needed / step) * step;
}

/**
 * Adds to a list of free resources in descending order of id. The oldest is reused first. So a pass that allocates in
 * the same order as the last one gets the same buffers, and finds its bind groups in the cache.
 */
function putBack<K, R extends Resource>(free: Map<K, R[]>, key: K, resource: R) {
  const list = free.get(key);
  if (!list) {
    free.set(key, [resource]);
    return;
  }
  let i = list.length;
  while (i > 0 && list[i - 1].id < resource.id) i--;
  list.splice(i, 0, resource);
}

const mib = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

export class Pool {
  #freeBuffers = new Map<number, Slot[]>();
  #freeTextures = new Map<string, Texture[]>();
  #nextId = 1;
  #liveBytes = 0;
  #liveCount = 0;
  #pooledBytes = 0;
  #peakBytes = 0;

  /**
   * `maxBytes` is the largest buffer a kernel can bind. `creating` runs allocations, so that failures are reported with
   * their name. `onDestroy` is called before a resource is destroyed. `isFull` is true when more than `maxPooledBytes`
   * are kept for reuse: then `trim` is due.
   */
  constructor(
    readonly gpu: GPUDevice,
    readonly maxBytes: number,
    readonly maxPooledBytes: number,
    readonly creating: <T>(what: string, work: () => T) => T,
    readonly onDestroy: (resource: Resource) => void,
  ) {}

  get isFull(): boolean {
    return this.#pooledBytes > this.maxPooledBytes;
  }

  /** Throws RangeError when `bytes` is no size or more than a tensor may have. */
  alloc(bytes: number): GpuStorage {
    if (!Number.isInteger(bytes) || bytes < 0) {
      throw new RangeError(`webgpu alloc: expected a number of bytes, got ${bytes}`);
    }
    if (bytes > this.maxBytes) {
      throw new RangeError(
        `webgpu alloc: ${bytes} bytes (${mib(bytes)}) are more than one tensor may have here (${
          mib(this.maxBytes)
        }); ` +
          `use a smaller batch or the cpu device (${mib(this.#liveBytes)} are in use)`,
      );
    }
    const size = Math.min(sizeClass(bytes), Math.max(this.maxBytes, 256));
    let slot = this.#freeBuffers.get(size)?.pop();
    if (slot) {
      this.#pooledBytes -= size;
    } else {
      const buffer = this.creating(
        `alloc of ${bytes} bytes (${mib(this.#liveBytes)} are in use)`,
        () =>
          this.gpu.createBuffer({
            label: `tensor of ${bytes} bytes`,
            size,
            usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST,
          }),
      );
      slot = { id: this.#nextId++, buffer, bytes: size, binding: { buffer }, lastBatch: -1 };
    }
    this.#taken(size);
    this.#liveCount++;
    return new GpuStorage(bytes, slot);
  }

  free(storage: GpuStorage): void {
    if (storage.texture) this.freeTexture(storage.texture);
    else if (storage.slot) this.#freeSlot(storage.slot);
    else throw new Error(`webgpu free: storage of ${storage.bytes} bytes was freed before`);
    storage.slot = undefined;
    storage.texture = undefined;
    this.#liveCount--;
  }

  #freeSlot(slot: Slot) {
    this.#returned(slot.bytes);
    putBack(this.#freeBuffers, slot.bytes, slot);
  }

  /**
   * A texture of this shape. Texels that were never written are zero, others undefined. Textures are reused for the
   * same `purpose` only, so a border that this purpose never writes stays zero.
   */
  allocTexture(width: number, height: number, format: TextureFormat, purpose: string): Texture {
    const bytes = width * height * (format === "rgba16float" ? 8 : 16);
    const key = `${width}x${height} ${format} ${purpose}`;
    let texture = this.#freeTextures.get(key)?.pop();
    if (texture) {
      this.#pooledBytes -= bytes;
    } else {
      const gpuTexture = this.creating(`texture of ${key}`, () =>
        this.gpu.createTexture({
          label: key,
          size: [width, height],
          format,
          usage: GPUTextureUsage.TEXTURE_BINDING | GPUTextureUsage.COPY_DST,
        }));
      texture = {
        id: this.#nextId++,
        texture: gpuTexture,
        width,
        height,
        bytes,
        key,
        binding: gpuTexture.createView(),
        lastBatch: -1,
      };
    }
    this.#taken(bytes);
    return texture;
  }

  freeTexture(texture: Texture): void {
    this.#returned(texture.bytes);
    putBack(this.#freeTextures, texture.key, texture);
  }

  /** Gives a storage a texture in place of its buffer, which is freed. */
  replaceByTexture(storage: GpuStorage, texture: Texture): void {
    if (storage.slot) this.#freeSlot(storage.slot);
    storage.slot = undefined;
    storage.texture = texture;
  }

  #taken(bytes: number) {
    this.#liveBytes += bytes;
    this.#peakBytes = Math.max(this.#peakBytes, this.#liveBytes + this.#pooledBytes);
  }

  #returned(bytes: number) {
    this.#liveBytes -= bytes;
    this.#pooledBytes += bytes;
  }

  /** Destroys free buffers and textures. Commands that use them must have been submitted. */
  trim(): void {
    for (const list of this.#freeBuffers.values()) {
      for (const slot of list) {
        this.onDestroy(slot);
        slot.buffer.destroy();
      }
    }
    for (const list of this.#freeTextures.values()) {
      for (const texture of list) {
        this.onDestroy(texture);
        texture.texture.destroy();
      }
    }
    this.#freeBuffers.clear();
    this.#freeTextures.clear();
    this.#pooledBytes = 0;
  }

  memory(): MemoryUse {
    return {
      liveBytes: this.#liveBytes,
      pooledBytes: this.#pooledBytes,
      peakBytes: this.#peakBytes,
      liveCount: this.#liveCount,
    };
  }

  resetPeak(): void {
    this.#peakBytes = this.#liveBytes + this.#pooledBytes;
  }
}
