/**
 * The interface of devices: memory, kernels, reading back. core/wgsl and core/cpu implement it.
 * Shapes and gradients are the ops' business; no op knows which device it runs on.
 */
import type { DType, KernelName, Kernels, Storage } from "./kernels.ts";

/** Memory of a device, in bytes. */
export interface MemoryUse {
  /** Bytes of storage in use. */
  readonly liveBytes: number;
  /** Bytes that were freed and are kept for reuse. */
  readonly pooledBytes: number;
  /** Highest `liveBytes + pooledBytes` since the device was opened or `resetPeak` was called. */
  readonly peakBytes: number;
  /** Number of live storages. */
  readonly liveCount: number;
}

/** What a device is. */
export interface DeviceInfo {
  /** Which implementation. */
  readonly kind: "cpu" | "webgpu";
  /** Adapter or processor, for reports: `llvmpipe (LLVM 15.0.6, 256 bits)`, `WASM SIMD (relaxed), 2 threads`. */
  readonly name: string;
  /** True for a software WebGPU adapter. */
  readonly software: boolean;
  /** Largest single tensor in bytes; on WebGPU also no more than could be allocated when the device was opened. */
  readonly maxTensorBytes: number;
}

/**
 * A device records or executes kernels in the order given. Results are visible to later kernels at once and to the host
 * through `read` only. Methods other than `read`, `sync` and `close` never wait for the device.
 */
export interface Device {
  /** What the device is. */
  readonly info: DeviceInfo;
  /** Allocates at least `bytes` bytes, contents undefined. Throws when there is no room, with the numbers. */
  alloc(bytes: number): Storage;
  /** Returns storage to the pool. Kernels already recorded may still use it. */
  free(storage: Storage): void;
  /** Copies host data to the beginning of storage. The caller may change the data afterwards. */
  write(storage: Storage, data: ArrayBufferView): void;
  /** Copies the first `bytes` bytes once all kernels recorded so far have run. Rejects if any of them failed. */
  read(storage: Storage, bytes: number): Promise<ArrayBuffer>;
  /** Runs or records one kernel. Throws on arguments that do not fit. */
  run<K extends KernelName>(kernel: K, args: Kernels[K]): void;
  /** Bytes of the output of packLinear ([n, k]) or packConv ([cOut, cIn, kh, kw]). */
  packedBytes(role: "linear" | "conv", shape: readonly number[], dtype: "f32" | "f16"): number;
  /** Resolves when all recorded work is done. Rejects if any kernel failed. */
  sync(): Promise<void>;
  /** Memory in use now. */
  memory(): MemoryUse;
  /** Lets `peakBytes` start from what is in use now. */
  resetPeak(): void;
  /**
   * Bytes that can be allocated beside what is in use, up to `most`, for devices with memory of their own: found by
   * allocating it for a moment.
   */
  availableBytes?(most: number): Promise<number>;
  /**
   * Keeps memory in use and memory kept for reuse together below `bytes`, as long as what is in use is: a plan's limit.
   * A device whose memory was limited when it was opened keeps to that limit.
   */
  limitMemory(bytes: number): void;
  /** Gives up memory kept for reuse. */
  trim(): void;
  /** Frees everything and stops workers. Further calls throw. */
  close(): void;
}

/** 2 for f16, else 4. */
export function bytesPerElement(dtype: DType): number {
  return dtype === "f16" ? 2 : 4;
}
