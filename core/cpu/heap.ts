/**
 * One growing WebAssembly memory and the allocator of its blocks: all tensors of the CPU device are here. Only the
 * thread that owns the device uses it.
 *
 * Blocks are 64-byte aligned. A freed block is merged with free neighbours and kept in a list of its size class. So a
 * gigabyte that was freed in pieces can be allocated whole again, and the other way round. WebAssembly memories never
 * shrink: `trim` returns the free space at the end of the heap to the accounts and to later allocations of any size,
 * but the process keeps the pages that it touched.
 */
const PAGE = 65536;
const ALIGN = 64;
/** Largest 32-bit memory, less its last page, so that no address computation reaches 2^32. */
export const MAX_HEAP_BYTES = 65535 * PAGE;
/**
 * Growing takes milliseconds, because all workers are told. So memory grows by at least this, or by half of its size.
 * Untouched pages cost nothing.
 */
const GROW_STEP = 256 * PAGE;

interface Block {
  readonly ptr: number;
  bytes: number;
  free: boolean;
  /** Neighbours by address. */
  before: Block | undefined;
  after: Block | undefined;
}

/** Four classes per power of two, in ascending order of size. */
function sizeClass(bytes: number): number {
  if (bytes >= 2 ** 32) return 32 * 4;
  const exponent = 31 - Math.clz32(bytes);
  return exponent * 4 + ((bytes >>> (exponent - 2)) & 3);
}

export class Heap {
  readonly memory: WebAssembly.Memory;
  /** First address of blocks; below are the device's job descriptors. */
  readonly base: number;
  readonly limit: number;
  liveBytes = 0;
  liveCount = 0;
  peakBytes = 0;

  /** Called when a block does not fit: frees another one and returns true, or returns false. */
  makeRoom: (() => boolean) | undefined;

  /** Called before memory is looked at: waits for kernels that write it, or read what is about to be overwritten. */
  settle: () => void = () => {};

  #f32!: Float32Array;
  #u8!: Uint8Array;

  #top: number;
  #last: Block | undefined;
  readonly #blocks = new Map<number, Block>();
  readonly #free: Set<Block>[] = Array.from({ length: 33 * 4 }, () => new Set<Block>());

  /** Where the last block ends at most. */
  readonly #end: number;

  /**
   * `reserved` bytes at address 0 are left alone. `limit` is the largest size of the whole memory in bytes, without
   * `uncounted` of those that are reserved.
   */
  constructor(reserved: number, limit: number = MAX_HEAP_BYTES, uncounted = 0) {
    this.base = Math.ceil(reserved / ALIGN) * ALIGN;
    this.#end = Math.min(limit + uncounted, MAX_HEAP_BYTES);
    this.limit = this.#end - uncounted;
    this.#top = this.base;
    this.memory = new WebAssembly.Memory({ initial: Math.ceil(this.base / PAGE), maximum: 65536, shared: true });
    this.#refresh();
  }

  /** The whole memory as floats, once it is settled. Replaced when memory grows: do not keep it across `alloc`. */
  get f32(): Float32Array {
    this.settle();
    return this.#f32;
  }

  /** The whole memory as bytes, likewise. */
  get u8(): Uint8Array {
    this.settle();
    return this.#u8;
  }

  /** The whole memory, likewise. */
  get buffer(): ArrayBufferLike {
    this.settle();
    return this.memory.buffer;
  }

  get pooledBytes(): number {
    return this.#top - this.base - this.liveBytes;
  }

  /** The address of a new block of at least `bytes` bytes, contents undefined. */
  alloc(bytes: number): number {
    const size = Math.max(ALIGN, Math.ceil(bytes / ALIGN) * ALIGN);
    let reused = this.#takeFree(size);
    while (reused === undefined && this.#endAfter(size) > this.#end && this.makeRoom?.()) {
      reused = this.#takeFree(size);
    }
    const block = reused ?? this.#extend(size);
    block.free = false;
    this.#blocks.set(block.ptr, block);
    this.liveBytes += block.bytes;
    this.liveCount++;
    this.#raisePeak();
    return block.ptr;
  }

  /** Takes back the block at `ptr`. Throws when there is none. */
  free(ptr: number): void {
    const block = this.#blocks.get(ptr);
    if (block === undefined) throw new Error(`free: no live block at address ${ptr}; was it freed twice?`);
    this.#blocks.delete(ptr);
    this.liveBytes -= block.bytes;
    this.liveCount--;
    block.free = true;
    let merged = block;
    if (block.before?.free) {
      this.#unlist(block.before);
      merged = this.#merge(block.before, block);
    }
    if (merged.after?.free) {
      this.#unlist(merged.after);
      merged = this.#merge(merged, merged.after);
    }
    this.#list(merged);
  }

  resetPeak(): void {
    this.peakBytes = this.#top - this.base;
  }

  /** Gives up the free space at the end of the heap. */
  trim(): void {
    const last = this.#last;
    if (!last?.free) return;
    this.#unlist(last);
    this.#last = last.before;
    if (this.#last) this.#last.after = undefined;
    this.#top = last.ptr;
  }

  #raisePeak(): void {
    this.peakBytes = Math.max(this.peakBytes, this.#top - this.base);
  }

  /** The smallest free block that fits, in the request's size class or the next one that has any. */
  #takeFree(size: number): Block | undefined {
    let best: Block | undefined;
    for (let c = sizeClass(size); c < this.#free.length && best === undefined; c++) {
      for (const block of this.#free[c]) {
        if (block.bytes >= size && (best === undefined || block.bytes < best.bytes)) best = block;
      }
    }
    if (best === undefined) return undefined;
    this.#unlist(best);
    if (best.bytes > size) this.#list(this.#split(best, size));
    return best;
  }

  /** Where a block of `size` at the end of the heap would end. */
  #endAfter(size: number): number {
    return (this.#last?.free ? this.#last.ptr : this.#top) + size;
  }

  /** A block at the end of the heap, growing the memory when it is too small. */
  #extend(size: number): Block {
    const last = this.#last;
    const start = last?.free ? last.ptr : this.#top;
    const end = this.#endAfter(size);
    if (end > this.#end) {
      throw new Error(
        `alloc: ${size} bytes do not fit: ${this.liveBytes} bytes are live and ${this.pooledBytes} are free in ` +
          `pieces, of a limit of ${this.limit}; free tensors, or load a smaller model`,
      );
    }
    const have = this.memory.buffer.byteLength;
    if (end > have) {
      const step = Math.max(GROW_STEP, Math.ceil(have / 2 / PAGE) * PAGE);
      const wanted = Math.min(Math.max(have + step, Math.ceil(end / PAGE) * PAGE), Math.ceil(this.#end / PAGE) * PAGE);
      try {
        this.memory.grow((wanted - have) / PAGE);
      } catch (cause) {
        throw new Error(
          `alloc: ${size} bytes: the memory cannot grow from ${have} to ${wanted} bytes (${this.liveBytes} live)`,
          { cause },
        );
      }
      this.#refresh();
    }
    this.#top = end;
    if (last?.free) {
      this.#unlist(last);
      last.bytes = size;
      return last;
    }
    const block: Block = { ptr: start, bytes: size, free: true, before: last, after: undefined };
    if (last) last.after = block;
    this.#last = block;
    return block;
  }

  #split(block: Block, size: number): Block {
    const rest: Block = {
      ptr: block.ptr + size,
      bytes: block.bytes - size,
      free: true,
      before: block,
      after: block.after,
    };
    if (block.after) block.after.before = rest;
    else this.#last = rest;
    block.after = rest;
    block.bytes = size;
    return rest;
  }

  #merge(first: Block, second: Block): Block {
    first.bytes += second.bytes;
    first.after = second.after;
    if (second.after) second.after.before = first;
    else this.#last = first;
    return first;
  }

  #list(block: Block): void {
    this.#free[sizeClass(block.bytes)].add(block);
  }

  #unlist(block: Block): void {
    this.#free[sizeClass(block.bytes)].delete(block);
  }

  #refresh(): void {
    const buffer = this.memory.buffer;
    this.#f32 = new Float32Array(buffer);
    this.#u8 = new Uint8Array(buffer);
  }
}
