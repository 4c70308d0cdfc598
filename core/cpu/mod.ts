/**
 * The CPU device: kernels in WebAssembly SIMD over one shared memory, on all processors.
 */
export { type CpuDevice, type CpuOptions, openCpuDevice } from "./device.ts";
export type { KernelBuild } from "./pool.ts";
