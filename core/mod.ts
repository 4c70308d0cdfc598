/**
 * The tensor library with its devices: tensors, ops with their gradients, optimisers, and what a kernel of your own
 * needs.
 *
 * `openDevice` opens a GPU through WebGPU, or the CPU. `scope` frees what was made inside it. `differentiate` gives
 * gradients; `gradcheck` compares those of an op with differences.
 */
export { type Arithmetic, type DeviceName, openDevice, type OpenDeviceOptions, type Tiles } from "./open_device.ts";
export * from "./tensor/mod.ts";
export { hiddenCard } from "./wgsl/driver.ts";
export type { CpuDevice, KernelBuild } from "./cpu/mod.ts";
export {
  type BufferBinding,
  type Groups,
  linearGroups,
  perItem,
  type Program,
  type ProgramSource,
  type ScalarType,
  type WgslDevice,
} from "./wgsl/program.ts";
