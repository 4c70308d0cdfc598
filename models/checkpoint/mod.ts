/** Checkpoints: opening and writing files, checking and renaming their tensors, synthetic weights. */
export { type ByteRange, BytesInMemory, type RandomAccess } from "./bytes.ts";
export { type CheckpointDescription, type CheckpointFormat, describeCheckpoint, openCheckpoint } from "./open.ts";
export type { StoredDType, TensorInfo, TensorSource } from "./source.ts";
export { openSafetensors, type SafetensorsSource } from "./safetensors.ts";
export { type SafetensorsEntry, type TensorBytes, writeSafetensors } from "./write_safetensors.ts";
export { syntheticInput, type SyntheticOptions, syntheticSource, syntheticTensor } from "./synthetic.ts";
export { autoUnwrap, subSource, type SubSourceOptions, withPrefix } from "./prefix.ts";
export { unwrapNetwork, type Unwrapped } from "./unwrap.ts";
export { checkNames, type CheckOptions, type ParamSpec, type Stranger } from "./load.ts";
export { bf16ToF32, f16ToF32, f32ToBf16, f32ToF16 } from "./half.ts";
