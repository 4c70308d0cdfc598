/**
 * The contract between the tensor library and a machine: memory, kernels, reading back.
 * It says nothing about shapes or gradients, and no op knows which device it runs on.
 */
import type { DType, KernelName, Kernels, Storage } from "./kernels.ts";

export interface MemoryUse {
  /** Bytes of storage handed out and not freed. */
  readonly liveBytes: number;
  /** Bytes held for reuse. */
  readonly pooledBytes: number;
  /** Highest `liveBytes + pooledBytes` since the device was opened or `resetPeak` was called. */
  readonly peakBytes: number;
  /** Number of live storages. */
  readonly liveCount: number;
}

export interface DeviceInfo {
  readonly kind: "cpu" | "webgpu";
  /** Adapter or processor, for reports: `llvmpipe (LLVM 15.0.6, 256 bits)`, `WASM SIMD (relaxed), 2 threads`. */
  readonly name: string;
  /** True for a software WebGPU adapter. */
  readonly software: boolean;
  /** Largest single tensor in bytes. */
  readonly maxTensorBytes: number;
}

/**
 * A device records or executes kernels in the order given. Results are visible to later kernels at once and to the host
 * through `read` only. Methods other than `read`, `sync` and `close` never wait for the device.
 */
export interface Device {
  readonly info: DeviceInfo;
  /** Memory for at least `bytes` bytes, contents undefined. Throws when it cannot be had, with the numbers. */
  alloc(bytes: number): Storage;
  /** Returns storage to the pool. Kernels already recorded may still use it. */
  free(storage: Storage): void;
  /** Copies host data into storage (from its beginning). The data may be changed by the caller afterwards. */
  write(storage: Storage, data: ArrayBufferView): void;
  /** A copy of the first `bytes` bytes, once everything recorded before has run. Rejects if any kernel failed. */
  read(storage: Storage, bytes: number): Promise<ArrayBuffer>;
  run<K extends KernelName>(kernel: K, args: Kernels[K]): void;
  /** Bytes that packLinear ([n, k]) or packConv ([cOut, cIn, kh, kw]) needs for its output. */
  packedBytes(role: "linear" | "conv", shape: readonly number[], dtype: "f32" | "f16"): number;
  /** Resolves when all recorded work is done. Rejects if any kernel failed. */
  sync(): Promise<void>;
  memory(): MemoryUse;
  resetPeak(): void;
  /** Drops pooled memory that is not in use. */
  trim(): void;
  /** Frees everything and stops workers. Further calls throw. */
  close(): void;
}

export function bytesPerElement(dtype: DType): number {
  return dtype === "f16" ? 2 : 4;
}
