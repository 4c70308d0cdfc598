/**
 * Cards as the stub device plays them: limits as their drivers report them, memory, and speed for models of time.
 * Speed and memory are the makers' data sheets.
 */

/** A card, or another adapter. */
export interface Card {
  /** As the adapter calls itself. */
  readonly name: string;
  readonly software: boolean;
  /** What its device reports, as far as this library reads it. */
  readonly limits: Readonly<Record<string, number>>;
  /** Memory in bytes. Allocations beyond it fail. */
  readonly memoryBytes: number;
  /** Largest single allocation that works, in bytes, where that is less than the limits say. */
  readonly maxAllocationBytes?: number;
  /** Streaming multiprocessors (NVIDIA) or what comes closest to them. */
  readonly multiprocessors: number;
  /** Peak of float32 arithmetic outside of tensor cores, in FLOP per second. */
  readonly flopsPerSecond: number;
  /** Bandwidth of the card's memory, in bytes per second. */
  readonly bytesPerSecond: number;
}

/** What NVIDIA's Vulkan driver reports through wgpu. */
const nvidiaLimits = {
  maxBufferSize: 2 ** 52,
  maxStorageBufferBindingSize: 2 ** 31 - 1,
  maxStorageBuffersPerShaderStage: 2 ** 20,
  maxComputeWorkgroupStorageSize: 49152,
  maxComputeInvocationsPerWorkgroup: 1024,
  maxComputeWorkgroupSizeX: 1024,
  maxComputeWorkgroupsPerDimension: 65535,
  maxTextureDimension2D: 32768,
};

export const cards = {
  h200: {
    name: "NVIDIA H200",
    software: false,
    limits: nvidiaLimits,
    memoryBytes: 141e9,
    multiprocessors: 132,
    flopsPerSecond: 67e12,
    bytesPerSecond: 4.8e12,
  },
  l4: {
    name: "NVIDIA L4",
    software: false,
    limits: nvidiaLimits,
    memoryBytes: 24 * 2 ** 30,
    multiprocessors: 58,
    flopsPerSecond: 30.3e12,
    bytesPerSecond: 300e9,
  },
  /** A card without resizable BAR: wgpu refuses whatever is larger than the window (denoland/deno#35195). */
  smallBar: {
    name: "NVIDIA GeForce GTX 1080",
    software: false,
    limits: nvidiaLimits,
    memoryBytes: 8 * 2 ** 30,
    maxAllocationBytes: 214 * 2 ** 20,
    multiprocessors: 20,
    flopsPerSecond: 8.9e12,
    bytesPerSecond: 320e9,
  },
  /** Mesa's software adapter. */
  lavapipe: {
    name: "llvmpipe (LLVM 15.0.6, 256 bits)",
    software: true,
    limits: {
      ...nvidiaLimits,
      maxBufferSize: 2 ** 31,
      maxStorageBufferBindingSize: 2 ** 27,
      maxStorageBuffersPerShaderStage: 32,
      maxComputeWorkgroupStorageSize: 32768,
      maxTextureDimension2D: 16384,
    },
    memoryBytes: 8 * 2 ** 30,
    multiprocessors: 2,
    flopsPerSecond: 30e9,
    bytesPerSecond: 10e9,
  },
} as const satisfies Record<string, Card>;
