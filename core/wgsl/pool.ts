/**
 * GPU buffers by size class, reused after they are freed, with the counts that `Device.memory` reports.
 * It knows nothing about kernels; when a buffer may really be destroyed is told by the caller.
 */
import type { MemoryUse } from "../tensor/device.ts";
import type { Storage } from "../tensor/kernels.ts";

/** A GPU buffer that outlives the storages that use it in turn. */
export interface Slot {
  readonly id: number;
  readonly buffer: GPUBuffer;
  readonly size: number;
  /** Number of the batch of commands that used it last; see recorder.ts. */
  lastBatch: number;
}

/** Device memory handed out by `BufferPool.alloc`; `slot` is undefined once it is freed. */
export class GpuStorage implements Storage {
  slot: Slot | undefined;
  constructor(readonly bytes: number, slot: Slot) {
    this.slot = slot;
  }
}

/** Bytes of the class that holds `bytes`: multiples of 256, in steps of at most an eighth of the size. */
export function sizeClass(bytes: number): number {
  const needed = Math.max(256, Math.ceil(bytes / 256) * 256);
  if (needed <= 4096) return needed;
  const step = 2 ** (Math.floor(Math.log2(needed - 1)) - 3);
  return Math.ceil(needed / step) * step;
}

const mib = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

export class BufferPool {
  #free = new Map<number, Slot[]>();
  #nextId = 1;
  #liveBytes = 0;
  #liveCount = 0;
  #pooledBytes = 0;
  #peakBytes = 0;

  /**
   * `maxBytes` is the largest buffer a kernel can bind. `onDestroy` is told of every buffer that goes away.
   * More than `maxPooledBytes` are not kept for reuse.
   */
  constructor(
    readonly gpu: GPUDevice,
    readonly maxBytes: number,
    readonly maxPooledBytes: number,
    readonly onDestroy: (slot: Slot) => void,
  ) {}

  /** Throws when `bytes` is not a size or more than one tensor may have. */
  alloc(bytes: number): GpuStorage {
    if (!Number.isInteger(bytes) || bytes < 0) {
      throw new Error(`webgpu alloc: expected a number of bytes, got ${bytes}`);
    }
    if (bytes > this.maxBytes) {
      throw new Error(
        `webgpu alloc: ${bytes} bytes (${mib(bytes)}) are more than one tensor may have here (${
          mib(this.maxBytes)
        }); ` +
          `use a smaller batch or the cpu device (${mib(this.#liveBytes)} are in use)`,
      );
    }
    const size = Math.min(sizeClass(bytes), Math.max(this.maxBytes, 256));
    let slot = this.#free.get(size)?.pop();
    if (slot) {
      this.#pooledBytes -= size;
    } else {
      const buffer = this.gpu.createBuffer({
        label: `tensor of ${bytes} bytes`,
        size,
        usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST,
      });
      slot = { id: this.#nextId++, buffer, size, lastBatch: -1 };
    }
    this.#liveBytes += size;
    this.#liveCount++;
    this.#peakBytes = Math.max(this.#peakBytes, this.#liveBytes + this.#pooledBytes);
    return new GpuStorage(bytes, slot);
  }

  /** Takes the buffer back. True when the pool holds more than it should and `trim` is due. */
  free(storage: GpuStorage): boolean {
    const slot = storage.slot;
    if (!slot) throw new Error(`webgpu free: storage of ${storage.bytes} bytes was freed before`);
    storage.slot = undefined;
    this.#liveBytes -= slot.size;
    this.#liveCount--;
    this.#pooledBytes += slot.size;
    const list = this.#free.get(slot.size);
    if (list) list.push(slot);
    else this.#free.set(slot.size, [slot]);
    return this.#pooledBytes > this.maxPooledBytes;
  }

  /** Destroys the free buffers. Commands that use them must have been submitted. */
  trim(): void {
    for (const list of this.#free.values()) {
      for (const slot of list) {
        this.onDestroy(slot);
        slot.buffer.destroy();
      }
    }
    this.#free.clear();
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
