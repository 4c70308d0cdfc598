/**
 * Post-processed copies of a batch, by the schedule of augment/: which transform, and how strong, follows from the recipe's
 * seed, the epoch and the step. The only file here that knows of augment/.
 */
import { augment, sampleAugmentation, scheduleFor, stageForEpoch } from "../attribution/images/augment/mod.ts";
import type { Recipe } from "./recipe.ts";

/** [size, size, 3] in [0, 1] -> the same after the transform of this step; the images of a step share its kind. */
export async function augmented(
  pixels: readonly Float32Array[],
  size: number,
  { seed, epochs }: Recipe,
  epoch: number,
  step: number,
): Promise<Float32Array[]> {
  const stage = stageForEpoch(epoch, scheduleFor(epochs));
  const results: Float32Array[] = [];
  for (const [image, data] of pixels.entries()) {
    const transform = sampleAugmentation(stage, seed, step, { image });
    results.push((await augment({ width: size, height: size, data }, transform)).data);
  }
  return results;
}
