/**
 * The CPU device's storage and the checked views that kernels take of it.
 * Nothing outside core/cpu may rely on these fields.
 */
import type { Storage } from "../tensor/kernels.ts";
import type { Heap } from "./heap.ts";
import { type Spillable, WeightSpill } from "./weight_spill.ts";

/** A block of the heap. */
export class CpuStorage implements Storage, Spillable {
  /** Address in the heap; -1 while weight_spill.ts keeps the contents on the host, and once freed. */
  ptr: number;
  freed = false;
  copy: Uint8Array | undefined;
  usedBy = 0;
  constructor(readonly heap: Heap, ptr: number, readonly bytes: number) {
    this.ptr = ptr;
  }
}

/**
 * A kernel's view of the device's memory: storages as addresses or typed arrays, checked for life and size. A typed array
 * is for use at once: kernels that run later may write it.
 */
export class Buffers {
  constructor(readonly heap: Heap, readonly spill: WeightSpill = new WeightSpill(heap)) {}

  /** The address of `storage` until the kernel ends. It must be live, of this device, and hold `bytes` bytes. */
  at(kernel: string, name: string, storage: Storage, bytes: number): number {
    const checked = this.check(kernel, name, storage);
    if (bytes > storage.bytes) {
      throw new Error(`${kernel}: ${name} needs ${bytes} bytes, its storage has ${storage.bytes}`);
    }
    this.spill.use(checked);
    return checked.ptr;
  }

  /** `storage` with this device's fields. Throws when it was freed or belongs to another device. */
  check(kernel: string, name: string, storage: Storage): CpuStorage {
    if (!(storage instanceof CpuStorage) || storage.heap !== this.heap) {
      throw new Error(`${kernel}: ${name} is not storage of this device`);
    }
    if (storage.freed) throw new Error(`${kernel}: ${name} was freed`);
    return storage;
  }

  f32(kernel: string, name: string, storage: Storage, n: number): Float32Array {
    return new Float32Array(this.heap.buffer, this.at(kernel, name, storage, n * 4), n);
  }

  i32(kernel: string, name: string, storage: Storage, n: number): Int32Array {
    return new Int32Array(this.heap.buffer, this.at(kernel, name, storage, n * 4), n);
  }

  u32(kernel: string, name: string, storage: Storage, n: number): Uint32Array {
    return new Uint32Array(this.heap.buffer, this.at(kernel, name, storage, n * 4), n);
  }

  f16(kernel: string, name: string, storage: Storage, n: number): Float16Array {
    return new Float16Array(this.heap.buffer, this.at(kernel, name, storage, n * 2), n);
  }
}
