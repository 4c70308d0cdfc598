/**
 * Packed weights that leave the heap while it is full, and come back when a kernel wants them: a 32-bit memory ends at
 * 4 GiB, networks do not. It moves nothing else, so all that kernels write must find room in the heap at once.
 *
 * Some of those that came back keep their copy outside: weights do not change, so they leave again without copying.
 * Networks use their weights in the same order again and again; the one that was used last is wanted last, and leaves
 * first. Moving costs a copy of memory: of VAR-d30's 4 GB in half precision a few hundred MB per pass of tens of seconds.
 */
import type { Heap } from "./heap.ts";
import type { CpuStorage } from "./storage.ts";

/** Part of the heap's size that weights may take both in it and outside. */
export const TWICE = 1 / 16;

export class Outside {
  readonly #heap: Heap;
  /** Storages that may leave; with and without a place in the heap. */
  readonly #weights = new Set<CpuStorage>();
  /** Number of the current kernel; what it uses stays. */
  #now = 1;
  #copies = 0;
  #peakCopies = 0;
  /** Bytes of weights that are in the heap and have a copy outside, and their number and that of all that are not in it. */
  #twice = 0;
  #absent = 0;

  constructor(heap: Heap) {
    this.#heap = heap;
    heap.makeRoom = () => this.#leave();
  }

  /** Bytes of copies outside the heap, those of weights that are in it, too, included. */
  get bytes(): number {
    return this.#copies;
  }

  /** Bytes that are both in the heap and outside: room in the heap that can be had at once. */
  get twiceBytes(): number {
    return this.#twice;
  }

  /** Number of weights that are not in the heap. */
  get absent(): number {
    return this.#absent;
  }

  get peakBytes(): number {
    return this.#peakCopies;
  }

  resetPeak(): void {
    this.#peakCopies = this.#copies;
  }

  /** `storage` was filled with a packed weight and may leave from now on. */
  mayLeave(storage: CpuStorage): void {
    this.#dropCopy(storage); // of what it held before
    this.#weights.add(storage);
  }

  /** Notes that the current kernel uses `storage`, and brings it in when it is not in the heap. */
  use(storage: CpuStorage): void {
    storage.usedBy = this.#now;
    if (storage.ptr >= 0 || storage.copy === undefined) return;
    const { copy } = storage;
    const ptr = this.#heap.alloc(copy.length);
    this.#heap.u8.set(copy, ptr);
    storage.ptr = ptr;
    this.#twice += copy.length;
    this.#absent--;
    if (this.#twice > this.#heap.limit * TWICE) this.#dropCopy(storage);
  }

  /** The current kernel is done with all that it used. */
  kernelEnded(): void {
    this.#now++;
  }

  /** Forgets `storage`, which is about to be freed. */
  forget(storage: CpuStorage): void {
    this.#weights.delete(storage);
    this.#dropCopy(storage);
  }

  #dropCopy(storage: CpuStorage): void {
    if (storage.copy === undefined) return;
    this.#copies -= storage.copy.length;
    if (storage.ptr >= 0) this.#twice -= storage.copy.length;
    else this.#absent--;
    storage.copy = undefined;
  }

  /** Sends one weight out; false when all that may leave are in use. Those that need no copy go first. */
  #leave(): boolean {
    let best: CpuStorage | undefined;
    for (const weight of this.#weights) {
      if (weight.ptr < 0 || weight.usedBy === this.#now) continue;
      if (best === undefined) best = weight;
      else if ((weight.copy === undefined) !== (best.copy === undefined)) {
        if (weight.copy !== undefined) best = weight;
      } else if (weight.usedBy > best.usedBy) best = weight;
    }
    if (best === undefined) return false;
    const { ptr, bytes } = best;
    if (best.copy === undefined) {
      best.copy = this.#heap.u8.slice(ptr, ptr + bytes);
      this.#copies += bytes;
      this.#peakCopies = Math.max(this.#peakCopies, this.#copies);
    } else this.#twice -= bytes;
    this.#heap.free(ptr);
    best.ptr = -1;
    this.#absent++;
    return true;
  }
}
