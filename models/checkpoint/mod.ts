/**
 * Everything of models/checkpoint/ that other folders use.
 * It is deliberately nothing but exports.
 */

export { type CheckpointDescription, type CheckpointFormat, describeCheckpoint } from "./open.ts";
export { openCheckpoint, type StoredDType, type TensorInfo, type TensorSource } from "./source.ts";
export { openSafetensors, type SafetensorsEntry, type SafetensorsSource, writeSafetensors } from "./safetensors.ts";
export { syntheticInput, type SyntheticOptions, syntheticSource, syntheticTensor } from "./synthetic.ts";
export { withEncoder } from "./overlay.ts";
export { autoUnwrap, subSource, withPrefix } from "./prefix.ts";
export { checkNames, type CheckOptions, type ParamSpec } from "./load.ts";
export { bf16ToF32, f16ToF32, f32ToBf16, f32ToF16 } from "./half.ts";
