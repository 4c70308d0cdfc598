/** Trained parameters as the tensors of a checkpoint. */
import type { Tensor } from "../core/tensor/mod.ts";
import { f32ToF16, type SafetensorsEntry } from "../models/checkpoint/mod.ts";
import { joinParts, partNames, type Weights, type WeightSpec } from "../models/weights.ts";

/** Every part of every parameter, by name. */
export function parametersOf(specs: readonly WeightSpec[], weights: Weights): ReadonlyMap<string, Tensor> {
  return new Map(specs.flatMap(partNames).map((part) => [part, weights.get(part)]));
}

/** Whole parameters under the checkpoint's names, in f16. They are read from the device when they are written. */
export function halfEntries(specs: readonly WeightSpec[], parameters: ReadonlyMap<string, Tensor>): SafetensorsEntry[] {
  return specs.map((spec) => ({
    name: spec.name,
    shape: spec.shape,
    dtype: "f16",
    data: async () => {
      const parts = new Map<string, Float32Array>();
      for (const part of partNames(spec)) parts.set(part, await parameters.get(part)!.data());
      const values = joinParts(spec, (part) => parts.get(part)!);
      return f32ToF16(spec.inverse ? spec.inverse(values) : values);
    },
  }));
}
