/** The tensor library: tensors, ops with gradients, lifetimes, optimisers, random numbers, and the device interface. */
export { arange, fromArray, full, randomNormal, randomUniform, zeros } from "./create.ts";
export { bytesPerElement, type Device, type DeviceInfo, type MemoryUse } from "./device.ts";
export { type BinaryName, binaryRows, type UnaryName, unaryRows } from "./elementwise.ts";
export type {
  Activation,
  AttentionSizes,
  ConvSizes,
  DType,
  Epilogue,
  GroupNormSizes,
  KernelName,
  Kernels,
  RowTable,
  Storage,
} from "./kernels.ts";
export {
  apply,
  applyAll,
  defineOp,
  empty,
  expectParameter,
  expectShape,
  expectType,
  type Gradient,
  type GradientContext,
  type Inputs,
  type Op,
  type TensorSpec,
} from "./op.ts";
export { normals, philox, uniforms } from "./random.ts";
export { disposeAll, keep, scope } from "./scope.ts";
export { formatShape, sameShape, type Shape, sizeOf } from "./shape.ts";
export { gradcheck, type GradcheckOptions } from "./gradcheck.ts";
export {
  Adam,
  type AdamOptions,
  clipGradients,
  constantLr,
  cosineLr,
  gradientNorm,
  type OptimizerState,
  type Schedule,
  stepLr,
  warmupCosineLr,
} from "./optim.ts";
export { checkpoint, differentiate, type Differentiated, withoutTape } from "./tape.ts";
export { type Layout, Tensor } from "./tensor.ts";
export * from "./ops/mod.ts";
