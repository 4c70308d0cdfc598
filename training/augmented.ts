/**
 * Processes the images of a step: a whole batch by the schedule of attribution/images/augment/, or each image by itself
 * by the ladder of attribution/images/edits/. What is drawn depends on the recipe's seed, the epoch and the step.
 */
import { augment, sampleAugmentation, scheduleFor, stageForEpoch } from "../attribution/images/augment/mod.ts";
import { applyEdits, drawEdits } from "../attribution/images/edits/mod.ts";
import { preprocess } from "../attribution/images/preprocess.ts";
import { philox } from "../core/tensor/mod.ts";
import type { Recipe } from "./recipe.ts";

/** What the processing of a step depends on. */
export type AugmentRecipe = Pick<Recipe, "seed" | "epochs" | "batch" | "augment" | "ladder">;

/** Images [size, size, 3] in [0, 1] after the processing of a step; the same ones if the recipe has none. */
export async function augmented(
  pixels: readonly Float32Array[],
  size: number,
  recipe: AugmentRecipe,
  epoch: number,
  step: number,
): Promise<readonly Float32Array[]> {
  if (recipe.ladder) return await processed(pixels, size, recipe, step);
  return recipe.augment ? await scheduled(pixels, size, recipe, epoch, step) : pixels;
}

/** By the schedule. The images of a step share the kind of transform. */
async function scheduled(
  pixels: readonly Float32Array[],
  size: number,
  { seed, epochs }: AugmentRecipe,
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

/** By the ladder: every other image, on average, goes through edits of its own. */
async function processed(
  pixels: readonly Float32Array[],
  size: number,
  { seed, batch }: AugmentRecipe,
  step: number,
): Promise<Float32Array[]> {
  const words = new Uint32Array(4), results: Float32Array[] = [];
  for (const [i, values] of pixels.entries()) {
    const draw = step * batch + i;
    philox(seed, ladderStream, draw, words);
    if (words[0] < 2 ** 31) {
      results.push(values);
      continue;
    }
    const data = Uint8Array.from(values, (value) => Math.round(255 * value));
    results.push(
      preprocess((await applyEdits({ width: size, height: size, data }, drawEdits(seed, draw))).image, size),
    );
  }
  return results;
}

/** Key of the stream of random numbers that chooses the images. */
const ladderStream = 0x6c647472; // "ldtr"
