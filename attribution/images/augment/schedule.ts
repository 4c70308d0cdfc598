// The reference's tables of transforms and strengths, the schedule of training, and a sampler that depends only on a
// seed and a step. apply.ts applies the transforms.

import { philox } from "../../../core/tensor/mod.ts";

/** Name of a transform; `kernel` is Gaussian blur. */
export type TransformName = "noise" | "kernel" | "jpeg" | "brightness" | "contrast" | "saturation" | "resize";
/** How strong the transforms of a stage of training are. */
export type Stage = "none" | "weak" | "medium" | "strong";
/** The stages in order, each for a number of epochs. */
export type Schedule = readonly (readonly [stage: Stage, epochs: number])[];

/**
 * One transform with all its parameters, as JSON data. Applying it twice gives the same pixels. Its strength is
 *
 * - noise: the standard deviation as a share of the range
 * - kernel: the width of the Gaussian kernel in pixels, odd; sigma is its standard deviation in pixels
 * - jpeg: the quality, 1..100
 * - brightness, contrast, saturation: a factor, 1 changes nothing
 * - resize: the ratio of the smaller size, in (0, 1]
 */
export type Augmentation =
  | { readonly name: "kernel"; readonly strength: number; readonly sigma: number }
  | { readonly name: "noise"; readonly strength: number; readonly seed: number }
  | { readonly name: Exclude<TransformName, "kernel" | "noise">; readonly strength: number };

// Source of the tables: sprintml/DataProvenanceIAR, dataprov/augmentations.py and configs/rar.yaml.

/** Strengths of the paper's main robustness table, in its order. */
export const defaultStrengths: Readonly<Record<TransformName, number>> = {
  noise: 0.05,
  kernel: 9,
  jpeg: 60,
  brightness: 1.6,
  contrast: 2.0,
  saturation: 2.0,
  resize: 0.5,
};

/** All transforms, in the order of that table. */
export const transformNames: readonly TransformName[] = Object.keys(defaultStrengths) as TransformName[];

/** Strengths of the paper's extended robustness table. */
export const strengthRanges: Readonly<Record<TransformName, readonly number[]>> = {
  kernel: [1, 3, 5, 7, 9, 11, 13, 15, 17, 19],
  noise: [0.0, 0.05, 0.1, 0.15, 0.2],
  resize: [0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.55, 0.5],
  jpeg: [100, 90, 80, 70, 60, 50, 40, 30, 20, 10],
  brightness: [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 1.9, 2.0],
  saturation: [1.0, 1.2, 1.4, 1.6, 1.8, 2.0, 2.2, 2.4, 2.6, 2.8, 3.0],
  contrast: [1.0, 1.2, 1.4, 1.6, 1.8, 2.0, 2.2, 2.4, 2.6, 2.8, 3.0],
};

/** Strengths by stage of training. A step draws a transform, then one of its strengths, both uniformly. */
export const stageStrengths: Readonly<
  Record<Exclude<Stage, "none">, Readonly<Record<TransformName, readonly number[]>>>
> = {
  weak: {
    jpeg: [90, 85, 80],
    kernel: [1, 3],
    noise: [0.005, 0.01, 0.02],
    brightness: [1.0, 1.1, 1.2],
    saturation: [1.0, 1.2, 1.5],
    resize: [0.9, 0.85, 0.8],
    contrast: [1.0, 1.2, 1.5],
  },
  medium: {
    jpeg: [80, 75, 70, 65],
    kernel: [3, 5],
    noise: [0.02, 0.03, 0.04],
    brightness: [1.3, 1.4, 1.5],
    saturation: [1.5, 1.7, 2.0],
    resize: [0.8, 0.75, 0.7],
    contrast: [1.5, 1.7, 2.0],
  },
  strong: {
    jpeg: [60, 55, 50],
    kernel: [5, 7, 9],
    noise: [0.03, 0.04, 0.05],
    brightness: [1.5, 1.7, 2.0],
    saturation: [2.0, 2.2, 2.5],
    resize: [0.7, 0.6, 0.5],
    contrast: [2.0, 2.2, 2.4],
  },
};

/** The published recipe for RAR: 50 epochs. */
export const officialSchedule: Schedule = [["none", 5], ["weak", 5], ["medium", 20], ["strong", 20]];

/** Range in pixels of the blur's sigma, which is drawn uniformly for every image. */
export const sigmaRange: readonly [number, number] = [0.1, 2.0];

/**
 * The official schedule for another number of epochs: 1 : 1 : 4 : 4, with a rest of `strong`. `none` below five epochs.
 */
export function scheduleFor(epochs: number): Schedule {
  if (epochs <= 4) return [["none", epochs]];
  const unit = Math.max(1, Math.trunc(epochs / 10));
  const medium = Math.min(4 * unit, epochs - 2 * unit);
  return [["none", unit], ["weak", unit], ["medium", medium], ["strong", epochs - 2 * unit - medium]];
}

/** The stage of an epoch, counted from 0. After the end of the schedule the last stage continues. */
export function stageForEpoch(epoch: number, schedule: Schedule = officialSchedule): Stage {
  let end = 0;
  for (const [stage, epochs] of schedule) {
    end += epochs;
    if (epoch < end) return stage;
  }
  return schedule.at(-1)?.[0] ?? "none";
}

/** How a transform is drawn. */
export interface SampleOptions {
  /** Probability that a step is augmented. Default 0.5, as in the reference. */
  readonly probability?: number;
  /** Index of the image in the batch. Images share transform and strength, but not sigma and noise. Default 0. */
  readonly image?: number;
}

/**
 * Draws the transform of a training step; null leaves the images unchanged.
 *
 * It has no state, so a run that resumes at a step draws what an uninterrupted run draws. `seed` and `step` are
 * integers from 0 to 2^53 - 1, `image` from 0 to 2^21 - 1. Throws a RangeError otherwise.
 */
export function sampleAugmentation(
  stage: Stage,
  seed: number,
  step: number,
  { probability = 0.5, image = 0 }: SampleOptions = {},
): Augmentation | null {
  if (!Number.isSafeInteger(step) || step < 0) {
    throw new RangeError(`sampleAugmentation: expected a step of 0, 1, 2, ..., got ${step}`);
  }
  if (!Number.isInteger(image) || image < 0 || image >= 2 ** 21) {
    throw new RangeError(`sampleAugmentation: expected an image of 0 to 2^21 - 1, got ${image}`);
  }
  if (stage === "none") return null;
  const words = new Uint32Array(4);
  philox(seed, STEP_STREAM, step, words);
  const [chance, nameWord, strengthWord, imageWord] = words;
  if (chance / 2 ** 32 >= probability) return null;
  const strengths = stageStrengths[stage];
  const name = pick(transformNames, nameWord);
  const strength = pick(strengths[name], strengthWord);
  if (name !== "kernel" && name !== "noise") return { name, strength };
  // The batch shares `imageWord`. With the index it makes a counter for every image.
  philox(seed, IMAGE_STREAM, imageWord * 2 ** 21 + image, words);
  const [low, high] = sigmaRange;
  return name === "kernel"
    ? { name, strength, sigma: low + (high - low) * (words[0] / 2 ** 32) }
    : { name, strength, seed: words[1] * 2 ** 21 + (words[2] >>> 11) };
}

/** The random streams of this file. */
const STEP_STREAM = 0x61756773, IMAGE_STREAM = 0x61756769; // "augs", "augi"

function pick<T>(choices: readonly T[], word: number): T {
  return choices[Math.trunc((word / 2 ** 32) * choices.length)];
}
