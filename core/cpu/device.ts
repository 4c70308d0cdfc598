/**
 * The CPU device: memory, reading and writing, and the table of kernels (kernels/).
 */
import type { Device, DeviceInfo, MemoryUse } from "../tensor/device.ts";
import type { KernelImplementations, KernelName, Kernels, Storage } from "../tensor/kernels.ts";
import type { Context } from "./kernels/context.ts";
import { attentionKernels } from "./kernels/attention.ts";
import { attentionGradientKernels } from "./kernels/attention_gradient.ts";
import { convKernels } from "./kernels/conv2d.ts";
import { elementwiseKernels } from "./kernels/elementwise.ts";
import { gatherRowsKernels } from "./kernels/gather_rows.ts";
import { matmulKernels } from "./kernels/matmul.ts";
import { nearestCodeKernels } from "./kernels/nearest_code.ts";
import { normKernels } from "./kernels/norm.ts";
import { normGradientKernels } from "./kernels/norm_gradient.ts";
import { packKernels } from "./kernels/pack.ts";
import { reduceKernels } from "./kernels/reduce.ts";
import { guidedScoresKernels } from "./kernels/guided_scores.ts";
import { softmaxKernels } from "./kernels/softmax.ts";
import { topKKernels } from "./kernels/top_k.ts";
import { weightGradientKernels } from "./kernels/weight_gradient.ts";
import { Heap, MAX_HEAP_BYTES } from "./heap.ts";
import { bestBuild, hasRelaxedSimd } from "./engine.ts";
import { type KernelBuild, MAX_THREADS, Pool, POOL_BYTES } from "./pool.ts";
import { RING_BYTES } from "./queue.ts";
import { Buffers, CpuStorage } from "./storage.ts";
import { WeightSpill } from "./weight_spill.ts";

/** Options of `openCpuDevice`. */
export interface CpuOptions {
  /**
   * Threads that run a kernel, the calling one included. Default: one per processor; on a page without the headers for
   * shared memory (https://web.dev/articles/coop-coep), one.
   */
  readonly threads?: number;
  /** Build of the kernels. Default: the fastest that the engine runs (engine.ts). */
  readonly build?: KernelBuild;
  /**
   * Largest size of the heap that kernels work in, in bytes. Everything but packed weights must fit it; those are moved
   * out while it is full (weight_spill.ts). Default, and the most possible: 4 GiB.
   */
  readonly memoryLimitBytes?: number;
}

/**
 * The CPU device: kernels are queued for workers, and the calling thread helps when it waits. It waits for them before
 * it reads or writes memory, and in `sync` before that returns its promise.
 */
export interface CpuDevice extends Device {
  /** Threads that work on a kernel, the calling one included. */
  readonly threads: number;
  /** Which build of the kernels it runs. */
  readonly build: KernelBuild;
  /** Workers that are running. They start with the first large kernel and close after a second without work. */
  readonly workers: number;
  /**
   * The first `n` floats of a storage, for kernels of your own in TypeScript; see examples/own_kernel.ts. The view is
   * valid until another kernel is run, which may come after it or change it meanwhile. Throws for storage that was freed,
   * is too small or belongs to another device.
   */
  view(storage: Storage, n: number): Float32Array;
}

/**
 * Opens a CPU device. Throws RangeError for threads out of
 * range, and Error for a build that the engine cannot run.
 */
export function openCpuDevice(options: CpuOptions = {}): CpuDevice {
  // Undefined where it is no question of pages, as in Deno.
  const { crossOriginIsolated } = globalThis as { crossOriginIsolated?: boolean };
  const threads = options.threads ??
    (crossOriginIsolated === false ? 1 : Math.min(navigator.hardwareConcurrency, MAX_THREADS));
  if (!Number.isInteger(threads) || threads < 1 || threads > MAX_THREADS) {
    throw new RangeError(`openCpuDevice: threads must be an integer from 1 to ${MAX_THREADS}, got ${threads}`);
  }
  const build = options.build ?? bestBuild();
  if (build !== "plain" && !hasRelaxedSimd()) {
    throw new Error(
      `openCpuDevice: this engine has no relaxed SIMD, which the ${build} kernels need; leave \`build\` out`,
    );
  }
  return new Cpu(threads, build, options.memoryLimitBytes ?? MAX_HEAP_BYTES);
}

const buildNames: Readonly<Record<KernelBuild, string>> = {
  plain: "",
  relaxed: " (relaxed)",
  wide: " (relaxed, 256 bits)",
};

const CLOSED = "the CPU device is closed";

class Cpu implements CpuDevice {
  readonly info: DeviceInfo;
  readonly #heap: Heap;
  readonly #spill: WeightSpill;
  readonly #buffers: Buffers;
  readonly #kernels: KernelImplementations;
  readonly #pool: Pool;
  #closed = false;

  constructor(readonly threads: number, readonly build: KernelBuild, memoryLimitBytes: number) {
    this.#heap = new Heap(POOL_BYTES, memoryLimitBytes, RING_BYTES);
    this.#spill = new WeightSpill(this.#heap);
    this.#buffers = new Buffers(this.#heap, this.#spill);
    this.#pool = new Pool(this.#heap, threads, build);
    const context: Context = { heap: this.#heap, buffers: this.#buffers, pool: this.#pool };
    this.#kernels = {
      ...elementwiseKernels(context),
      ...reduceKernels(context),
      ...topKKernels(context),
      ...gatherRowsKernels(context),
      ...packKernels(context),
      ...matmulKernels(context),
      ...convKernels(context),
      ...normKernels(context),
      ...normGradientKernels(context),
      ...softmaxKernels(context),
      ...guidedScoresKernels(context),
      ...attentionKernels(context),
      ...attentionGradientKernels(context),
      ...nearestCodeKernels(context),
      ...weightGradientKernels(context),
    };
    this.info = {
      kind: "cpu",
      name: `WASM SIMD${buildNames[build]}, ${threads} ${threads === 1 ? "thread" : "threads"}`,
      software: false,
      maxTensorBytes: this.#heap.limit,
    };
  }

  get workers(): number {
    return this.#pool.ready;
  }

  view(storage: Storage, n: number): Float32Array {
    this.#check();
    return this.#buffers.f32("view", "storage", storage, n);
  }

  alloc(bytes: number): Storage {
    this.#check();
    if (!Number.isSafeInteger(bytes) || bytes < 0) throw new RangeError(`alloc: ${bytes} is not a number of bytes`);
    return new CpuStorage(this.#heap, this.#heap.alloc(bytes), bytes);
  }

  free(storage: Storage): void {
    this.#check();
    const block = this.#buffers.check("free", "storage", storage);
    this.#spill.forget(block);
    if (block.ptr >= 0) this.#heap.free(block.ptr);
    block.ptr = -1;
    block.freed = true;
  }

  write(storage: Storage, data: ArrayBufferView): void {
    this.#check();
    const ptr = this.#buffers.at("write", "storage", storage, data.byteLength);
    this.#spill.forget(storage as CpuStorage); // only packed weights are evicted
    this.#heap.u8.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), ptr);
  }

  read(storage: Storage, bytes: number): Promise<ArrayBuffer> {
    try {
      this.#check();
      const ptr = this.#buffers.at("read", "storage", storage, bytes);
      const copy = new Uint8Array(bytes);
      copy.set(this.#heap.u8.subarray(ptr, ptr + bytes));
      return Promise.resolve(copy.buffer);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  run<K extends KernelName>(kernel: K, args: Kernels[K]): void {
    this.#check();
    try {
      this.#kernels[kernel](args);
      if (kernel === "packLinear" || kernel === "packConv") {
        const { out } = args as Kernels["packLinear" | "packConv"];
        this.#spill.allow(this.#buffers.check(kernel, "out", out));
      }
    } finally {
      this.#spill.kernelEnded();
    }
  }

  packedBytes(role: "linear" | "conv", shape: readonly number[], dtype: "f32" | "f16"): number {
    const rank = role === "linear" ? 2 : 4;
    if (shape.length !== rank) throw new Error(`packedBytes: a ${role} weight has rank ${rank}, got [${shape}]`);
    const [n, ...rest] = shape;
    return Math.ceil(n / 8) * 8 * rest.reduce((p, d) => p * d, 1) * (dtype === "f16" ? 2 : 4);
  }

  sync(): Promise<void> {
    try {
      this.#check();
      this.#pool.settle();
      return Promise.resolve();
    } catch (error) {
      return Promise.reject(error);
    }
  }

  memory(): MemoryUse {
    const { liveBytes, pooledBytes, peakBytes, liveCount } = this.#heap;
    const { bytes, duplicateBytes, evicted, peakBytes: peakSpilled } = this.#spill;
    return {
      liveBytes: liveBytes - duplicateBytes + bytes,
      pooledBytes: pooledBytes + duplicateBytes,
      peakBytes: peakBytes + peakSpilled,
      liveCount: liveCount + evicted,
    };
  }

  resetPeak(): void {
    this.#spill.resetPeak();
    this.#heap.resetPeak();
  }

  limitMemory(): void {
    // Free blocks merge, so memory grows only when nothing free is large enough; its end was set at opening.
  }

  trim(): void {
    this.#heap.trim();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#pool.close();
  }

  #check(): void {
    if (this.#closed) throw new Error(CLOSED);
  }
}
