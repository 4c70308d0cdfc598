/**
 * The CPU device's storage and the checked views that kernels take of it.
 * Nothing outside core/cpu may rely on these fields.
 */
import type { Storage } from "../tensor/kernels.ts";
import type { Heap } from "./heap.ts";
import { Outside } from "./outside.ts";

export class CpuStorage implements Storage {
  /** Address in the heap, -1 while it is outside and once freed. */
  ptr: number;
  freed = false;
  /** What outside.ts keeps: the contents outside the heap, and the last kernel that used them. */
  copy: Uint8Array | undefined;
  usedBy = 0;
  constructor(readonly heap: Heap, ptr: number, readonly bytes: number) {
    this.ptr = ptr;
  }
}

/** What a kernel sees of the device: its buffers as addresses or typed arrays, checked for life and size. */
export class Buffers {
  constructor(readonly heap: Heap, readonly outside: Outside = new Outside(heap)) {}

  /** The address of `storage` until the kernel ends. It must be live, of this device, and hold `bytes` bytes. */
  at(kernel: string, name: string, storage: Storage, bytes: number): number {
    const own = this.own(kernel, name, storage);
    if (bytes > storage.bytes) {
      throw new Error(`${kernel}: ${name} needs ${bytes} bytes, its storage has ${storage.bytes}`);
    }
    this.outside.use(own);
    return own.ptr;
  }

  /** `storage` as what it is. Throws when it was freed or is another device's. */
  own(kernel: string, name: string, storage: Storage): CpuStorage {
    if (!(storage instanceof CpuStorage) || storage.heap !== this.heap) {
      throw new Error(`${kernel}: ${name} is not storage of this device`);
    }
    if (storage.freed) throw new Error(`${kernel}: ${name} was freed`);
    return storage;
  }

  f32(kernel: string, name: string, storage: Storage, n: number): Float32Array {
    return new Float32Array(this.heap.memory.buffer, this.at(kernel, name, storage, n * 4), n);
  }

  i32(kernel: string, name: string, storage: Storage, n: number): Int32Array {
    return new Int32Array(this.heap.memory.buffer, this.at(kernel, name, storage, n * 4), n);
  }

  u32(kernel: string, name: string, storage: Storage, n: number): Uint32Array {
    return new Uint32Array(this.heap.memory.buffer, this.at(kernel, name, storage, n * 4), n);
  }

  f16(kernel: string, name: string, storage: Storage, n: number): Float16Array {
    return new Float16Array(this.heap.memory.buffer, this.at(kernel, name, storage, n * 2), n);
  }
}
