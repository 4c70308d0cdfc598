/**
 * Allocates GPU buffers by size class and textures by shape, reuses freed ones, and counts bytes for `Device.memory`.
 *
 * Memory that is destroyed exists until the commands that use it are done, and recording runs far ahead of a card. So a
 * pass that makes and destroys buffers needs a multiple of what it counts. The pool therefore keeps what it has, up to
 * a limit on all memory, and destroys only the excess, oldest first.
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
  /** When it was freed last, counted in frees. */
  freedAt: number;
  /** True when its allocation may have failed: it is not reused. */
  doomed: boolean;
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

/** `bytes` rounded up to a size class: multiples of 256, in steps of at most 1/64 of the size. */
export function sizeClass(bytes: number): number {
  const needed = Math.max(256, Math.ceil(bytes / 256) * 256);
  if (needed <= 16384) return needed;
  const step = 2 ** (Math.floor(Math.log2(needed - 1)) - 6);
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

/** Free memory that is kept without a plan, in bytes; or as much as was ever in use, if that is more. */
const unplannedBytes = 4 * 2 ** 30;

const mib = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

/** What the pool asks of its device. */
export interface PoolHooks {
  /** Runs an allocation, so that a failure is reported with its name. */
  creating<T>(what: string, work: () => T): T;
  /** Called before a resource is destroyed: commands that use it must be submitted. */
  destroying(resource: Resource): void;
}

export class Pool {
  #freeBuffers = new Map<number, Slot[]>();
  #freeTextures = new Map<string, Texture[]>();
  #nextId = 1;
  #clock = 0;
  #liveBytes = 0;
  #liveCount = 0;
  #pooledBytes = 0;
  #peakBytes = 0;
  #mostLiveBytes = 0;
  /** Made since the last wait that found no error. */
  #unsettled = new Set<Slot | Texture>();

  /**
   * `maxBytes` is the largest buffer that can be made and bound. `limitBytes` is what live and free memory together
   * stay below, if live memory does. Where it is undefined, free memory has a limit of its own.
   */
  constructor(
    readonly gpu: GPUDevice,
    readonly maxBytes: number,
    readonly hooks: PoolHooks,
    public limitBytes?: number,
  ) {}

  /**
   * Memory of at least `bytes` bytes; with `isBrief` it may be a larger free buffer, which others can do without until it
   * is given back. Throws RangeError when `bytes` is no size or more than a tensor may have.
   */
  alloc(bytes: number, isBrief = false): GpuStorage {
    if (!Number.isInteger(bytes) || bytes < 0) {
      throw new RangeError(`webgpu alloc: expected a number of bytes, got ${bytes}`);
    }
    if (bytes > this.maxBytes) {
      throw new RangeError(
        `webgpu alloc: ${bytes} bytes (${mib(bytes)}) are more than one tensor may have here (${
          mib(this.maxBytes)
        }: by the adapter's limits, or what it gave when the device was opened); ` +
          `use a smaller batch or the cpu device (${mib(this.#liveBytes)} are in use)`,
      );
    }
    const size = Math.min(sizeClass(bytes), Math.max(this.maxBytes, 256));
    let slot = this.#freeBuffers.get(size)?.pop() ?? (isBrief ? this.#takeLarger(size) : undefined);
    if (slot) {
      this.#pooledBytes -= slot.bytes;
    } else {
      this.#makeRoom(size);
      const buffer = this.hooks.creating(
        `alloc of ${bytes} bytes (${mib(this.#liveBytes)} are in use)`,
        () =>
          this.gpu.createBuffer({
            label: `tensor of ${bytes} bytes`,
            size,
            usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST,
          }),
      );
      slot = { ...this.#newResource(size), buffer, binding: { buffer } };
      this.#unsettled.add(slot);
    }
    this.#taken(slot.bytes);
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
    this.#returned(slot);
    if (slot.doomed) this.#destroy(slot);
    else putBack(this.#freeBuffers, slot.bytes, slot);
  }

  /** The smallest free buffer that is larger. */
  #takeLarger(bytes: number): Slot | undefined {
    let best = Infinity;
    for (const [size, { length }] of this.#freeBuffers) if (length > 0 && size > bytes && size < best) best = size;
    return this.#freeBuffers.get(best)?.pop();
  }

  #newResource(bytes: number) {
    return { id: this.#nextId++, bytes, lastBatch: -1, freedAt: 0, doomed: false };
  }

  /** Whether a new resource of this size would be beyond the limit. */
  #isBeyond(bytes: number): boolean {
    if (this.limitBytes !== undefined) return this.#liveBytes + this.#pooledBytes + bytes > this.limitBytes;
    return this.#pooledBytes > Math.max(unplannedBytes, this.#mostLiveBytes);
  }

  /** Destroys free memory, oldest first, until `bytes` more stay within the limit or nothing is free. */
  #makeRoom(bytes: number): void {
    if (!this.#isBeyond(bytes)) return;
    const free = [...this.#freeBuffers.values(), ...this.#freeTextures.values()].flat();
    for (const resource of free.sort((a, b) => a.freedAt - b.freedAt)) {
      if (!this.#isBeyond(bytes)) return;
      this.#drop(resource);
    }
  }

  /** Takes a free resource out of its list and destroys it. */
  #drop(resource: Slot | Texture): void {
    const list = "buffer" in resource
      ? this.#freeBuffers.get(resource.bytes)
      : this.#freeTextures.get((resource as Texture).key);
    const i = list?.indexOf(resource as Slot & Texture) ?? -1;
    if (i < 0) return;
    list!.splice(i, 1);
    this.#destroy(resource);
  }

  /** Destroys a resource that is in no list, but still counted as pooled. */
  #destroy(resource: Slot | Texture): void {
    this.#pooledBytes -= resource.bytes;
    this.#unsettled.delete(resource);
    this.hooks.destroying(resource);
    if ("buffer" in resource) resource.buffer.destroy();
    else resource.texture.destroy();
  }

  /** What was made so far and not settled yet: pass it to `settled` or `failed` after waiting for errors. */
  unsettled(): readonly (Slot | Texture)[] {
    return [...this.#unsettled];
  }

  /** No error came until the wait after `unsettled`: the allocations succeeded. */
  settled(resources: readonly (Slot | Texture)[]): void {
    for (const resource of resources) this.#unsettled.delete(resource);
  }

  /**
   * An error came, and each of these may be a failed allocation: free ones are destroyed, live ones once they are
   * freed. Reuse would fail again in whatever comes next.
   */
  failed(resources: readonly (Slot | Texture)[]): void {
    for (const resource of resources) {
      this.#unsettled.delete(resource);
      resource.doomed = true;
      this.#drop(resource);
    }
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
      this.#makeRoom(bytes);
      const gpuTexture = this.hooks.creating(`texture of ${key}`, () =>
        this.gpu.createTexture({
          label: key,
          size: [width, height],
          format,
          usage: GPUTextureUsage.TEXTURE_BINDING | GPUTextureUsage.COPY_DST,
        }));
      const binding = gpuTexture.createView();
      texture = { ...this.#newResource(bytes), texture: gpuTexture, width, height, key, binding };
      this.#unsettled.add(texture);
    }
    this.#taken(bytes);
    return texture;
  }

  freeTexture(texture: Texture): void {
    this.#returned(texture);
    if (texture.doomed) this.#destroy(texture);
    else putBack(this.#freeTextures, texture.key, texture);
  }

  /** Gives a storage a texture in place of its buffer, which is freed. */
  replaceByTexture(storage: GpuStorage, texture: Texture): void {
    if (storage.slot) this.#freeSlot(storage.slot);
    storage.slot = undefined;
    storage.texture = texture;
  }

  #taken(bytes: number) {
    this.#liveBytes += bytes;
    this.#mostLiveBytes = Math.max(this.#mostLiveBytes, this.#liveBytes);
    this.#peakBytes = Math.max(this.#peakBytes, this.#liveBytes + this.#pooledBytes);
  }

  #returned(resource: Resource) {
    this.#liveBytes -= resource.bytes;
    this.#pooledBytes += resource.bytes;
    resource.freedAt = this.#clock++;
  }

  /** Destroys all free buffers and textures. */
  trim(): void {
    const free = [...this.#freeBuffers.values(), ...this.#freeTextures.values()].flat();
    this.#freeBuffers.clear();
    this.#freeTextures.clear();
    for (const resource of free) this.#destroy(resource);
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
