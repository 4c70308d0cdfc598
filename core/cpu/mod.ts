/**
 * Opens the CPU device: kernels over one shared WebAssembly memory, for machines without a GPU.
 * Shapes, gradients and the choice between devices are made elsewhere.
 */
export { type CpuDevice, type CpuOptions, openCpuDevice } from "./device.ts";
export type { KernelBuild } from "./pool.ts";
