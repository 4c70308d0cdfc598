/**
 * One checkpoint laid over another: a tokenizer with a fine-tuned encoder in place of its own.
 * It deliberately replaces whole tensors by name only, and adds none but those that are about the encoder.
 */
import { latentNames } from "../var/latent_statistics.ts";
import type { TensorInfo, TensorSource } from "./source.ts";

/**
 * `source` with the tensors of `encoder` in place of those of the same names. Throws when `encoder` has none, one that
 * `source` lacks, or one of another shape; its LatentStatistics are added. Closing the result closes both.
 */
export function withEncoder(source: TensorSource, encoder: TensorSource): TensorSource {
  if (encoder.tensors.size === 0) throw new Error(`${encoder.label}: has no tensors`);
  const tensors = new Map<string, TensorInfo>(source.tensors);
  for (const [name, info] of encoder.tensors) {
    const own = latentNames.test(name) ? info : source.tensors.get(name);
    if (own === undefined) throw new Error(`${encoder.label}: ${source.label} has no tensor named ${name}`);
    if (own.shape.join() !== info.shape.join()) {
      throw new Error(`${encoder.label}: ${name}: ${source.label} expects [${own.shape}], got [${info.shape}]`);
    }
    tensors.set(name, info);
  }
  const of = (name: string) => (encoder.tensors.has(name) ? encoder : source);
  return {
    label: `${source.label} with ${encoder.label}`,
    tensors,
    readF32: (name) => of(name).readF32(name),
    readF16: (name) => of(name).readF16(name),
    readI32: (name) => of(name).readI32(name),
    close: () => {
      source.close();
      encoder.close();
    },
  };
}
