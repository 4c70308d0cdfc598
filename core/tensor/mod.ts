/** The tensor library: tensors, ops, lifetimes, random numbers, and the contract that devices fulfil. */
export * from "./create.ts";
export * from "./device.ts";
export type { Activation, DType, KernelName, Kernels, RowTable, Storage } from "./kernels.ts";
export { apply, applyAll, defineOp, empty, type Gradient, type GradientContext, type Op } from "./op.ts";
export { normals, philox, uniforms } from "./random.ts";
export { disposeAll, keep, scope } from "./scope.ts";
export { formatShape, sameShape, type Shape, sizeOf } from "./shape.ts";
export { gradcheck, type GradcheckOptions } from "./gradcheck.ts";
export * from "./optim.ts";
export { checkpoint, differentiate, type Differentiated, withoutTape } from "./tape.ts";
export { type Layout, Tensor } from "./tensor.ts";
export * from "./ops/mod.ts";
