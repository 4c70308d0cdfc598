/**
 * Loads a tokenizer for the baselines of the paper: with the encoder that it was trained with, and ready for gradient
 * descent on its latent. All other signals use the encoder of the set, which may be fine-tuned.
 */
import type { Device } from "../../core/tensor/mod.ts";
import type { FamilyName, ImageTokenizer } from "../../models/family.ts";
import type { ModelSet } from "../../models/model_set.ts";
import { tracedWeights } from "./latent_tracer.ts";

/** By how much a batch must be smaller than in inference: gradients need all activations of the forward pass. */
export const tracingShare = 16;

/** Loads the tokenizer, unless another one that was loaded so has the same weights. The caller disposes of it. */
export async function loadWithOwnEncoder(
  set: ModelSet,
  device: Device,
  family: FamilyName,
  shared?: ImageTokenizer,
): Promise<ImageTokenizer> {
  return await set.loadTokenizer(device, family, { ...tracedWeights, originalEncoder: true, shared });
}
