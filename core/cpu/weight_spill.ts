/**
 * Moves packed weights out of the heap while it is full, and back when a kernel needs them: a 32-bit memory ends at
 * 4 GiB, networks do not. Nothing else moves, so everything that a kernel writes must fit the heap at once.
 *
 * Reloaded weights keep their host copy, up to a share of the heap, so evicting them again is free. Networks use their
 * weights in a cycle: the weight used last is needed last, and is evicted first. Moving costs a copy of memory: for
 * VAR-d30's 4 GB in half precision a few hundred MB per pass, which takes tens of seconds.
 */
import type { Heap } from "./heap.ts";

/** Largest total of weights that are in the heap and on the host at once, as a share of the heap's limit. */
export const DUPLICATE_SHARE = 1 / 16;

/** A storage as the spill sees it. */
export interface Spillable {
  /** Address in the heap, -1 while the contents are on the host only. */
  ptr: number;
  readonly bytes: number;
  /** Contents on the host. */
  copy: Uint8Array | undefined;
  /** Number of the last kernel that used the storage. */
  usedBy: number;
}

/** The packed weights of one heap. */
export class WeightSpill {
  readonly #heap: Heap;
  /** Storages that may be evicted, in the heap or not. */
  readonly #weights = new Set<Spillable>();
  /** Number of the current kernel; what it uses stays. */
  #kernel = 1;
  #copies = 0;
  #peakCopies = 0;
  #duplicates = 0;
  #evicted = 0;

  constructor(heap: Heap) {
    this.#heap = heap;
    heap.makeRoom = () => this.#evict();
  }

  /** Bytes of host copies, duplicates included. */
  get bytes(): number {
    return this.#copies;
  }

  /** Bytes that are both in the heap and on the host: room in the heap that costs nothing to free. */
  get duplicateBytes(): number {
    return this.#duplicates;
  }

  /** Number of weights that are not in the heap. */
  get evicted(): number {
    return this.#evicted;
  }

  /** Highest `bytes` since the start or `resetPeak`. */
  get peakBytes(): number {
    return this.#peakCopies;
  }

  resetPeak(): void {
    this.#peakCopies = this.#copies;
  }

  /** Lets `storage`, which a packed weight was just written to, be evicted from now on. */
  allow(storage: Spillable): void {
    this.#dropCopy(storage); // of its previous contents
    this.#weights.add(storage);
  }

  /** Notes that the current kernel uses `storage`, and reloads it when it is not in the heap. */
  use(storage: Spillable): void {
    storage.usedBy = this.#kernel;
    if (storage.ptr >= 0 || storage.copy === undefined) return;
    const { copy } = storage;
    const ptr = this.#heap.alloc(copy.length);
    this.#heap.u8.set(copy, ptr);
    storage.ptr = ptr;
    this.#duplicates += copy.length;
    this.#evicted--;
    if (this.#duplicates > this.#heap.limit * DUPLICATE_SHARE) this.#dropCopy(storage);
  }

  /** Ends the current kernel: what it used may be evicted. */
  kernelEnded(): void {
    this.#kernel++;
  }

  /** Forgets `storage`, which is about to be freed or overwritten. */
  forget(storage: Spillable): void {
    this.#weights.delete(storage);
    this.#dropCopy(storage);
  }

  #dropCopy(storage: Spillable): void {
    if (storage.copy === undefined) return;
    this.#copies -= storage.copy.length;
    if (storage.ptr >= 0) this.#duplicates -= storage.copy.length;
    else this.#evicted--;
    storage.copy = undefined;
  }

  /** Evicts one weight, preferably one with a host copy; false when the current kernel uses all of them. */
  #evict(): boolean {
    let best: Spillable | undefined;
    for (const weight of this.#weights) {
      if (weight.ptr < 0 || weight.usedBy === this.#kernel) continue;
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
    } else this.#duplicates -= bytes;
    this.#heap.free(ptr);
    best.ptr = -1;
    this.#evicted++;
    return true;
  }
}
