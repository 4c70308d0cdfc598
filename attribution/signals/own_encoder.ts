/**
 * A tokenizer with the encoder that it was trained with, and fit for gradient descent on its latent: what the baselines of
 * the paper are measured with. Everything else takes the encoder of the set.
 */
import type { Device } from "../../core/tensor/mod.ts";
import type { FamilyName, ImageTokenizer } from "../../models/family.ts";
import type { ModelSet } from "../../models/model_set.ts";
import { tracedWeights } from "./latent_tracer.ts";

/** Gradients keep what a forward pass computes: so many times fewer images at once. */
export const tracingShare = 16;

/** Loads the tokenizer; the caller disposes of it. */
export async function loadWithOwnEncoder(set: ModelSet, device: Device, family: FamilyName): Promise<ImageTokenizer> {
  return await set.loadTokenizer(device, family, { ...tracedWeights, originalEncoder: true });
}
