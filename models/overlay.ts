/**
 * A tokenizer with a fine-tuned encoder: one checkpoint laid over another, whole tensors at a time.
 */
import { latentNames } from "./latent_statistics.ts";
import type { TensorInfo, TensorSource } from "./checkpoint/source.ts";

/**
 * `source` with tensors replaced by those of `encoder` with the same names; LatentStatistics of `encoder` are added.
 * Throws when `encoder` has no tensors, one that `source` lacks, or one of another shape. Closing the result closes
 * both.
 */
export function withEncoder(source: TensorSource, encoder: TensorSource): TensorSource {
  if (encoder.tensors.size === 0) throw new Error(`${encoder.label}: has no tensors`);
  const tensors = new Map<string, TensorInfo>(source.tensors);
  for (const [name, info] of encoder.tensors) {
    const expected = latentNames.test(name) ? info : source.tensors.get(name);
    if (expected === undefined) throw new Error(`${encoder.label}: ${source.label} has no tensor named ${name}`);
    if (expected.shape.join() !== info.shape.join()) {
      throw new Error(`${encoder.label}: ${name}: ${source.label} expects [${expected.shape}], got [${info.shape}]`);
    }
    tensors.set(name, info);
  }
  const sourceOf = (name: string) => (encoder.tensors.has(name) ? encoder : source);
  return {
    label: `${source.label} with ${encoder.label}`,
    tensors,
    readF32: (name) => sourceOf(name).readF32(name),
    readF16: (name) => sourceOf(name).readF16(name),
    readI32: (name) => sourceOf(name).readI32(name),
    close: () => {
      source.close();
      encoder.close();
    },
  };
}
