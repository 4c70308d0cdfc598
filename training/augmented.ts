/**
 * Augments a batch by the schedule of attribution/images/augment/. Transform and strength depend on the recipe's seed,
 * the epoch and the step.
 */
import { augment, sampleAugmentation, scheduleFor, stageForEpoch } from "../attribution/images/augment/mod.ts";
import type { Recipe } from "./recipe.ts";

/** Augments images [size, size, 3] in [0, 1]. The images of a step share the kind of transform. */
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
