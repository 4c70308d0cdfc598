// Which transform, how strong, and when: the reference's tables as data, and a sampler that depends on nothing but a seed
// and a step. It transforms no image; apply.ts does.

import { philox } from "../../../core/tensor/mod.ts";

export type TransformName = "noise" | "kernel" | "jpeg" | "brightness" | "contrast" | "saturation" | "resize";
export type Stage = "none" | "weak" | "medium" | "strong";
/** Stages one after the other, each for a number of epochs. */
export type Schedule = readonly (readonly [stage: Stage, epochs: number])[];

/**
 * One transform with all that it needs, so that applying it twice gives the same pixels; plain data, fit for JSON.
 *
 * `strength` by name: noise, the standard deviation as a share of the range; kernel, the width of the Gaussian kernel in
 * pixels (odd); jpeg, the quality 1..100; brightness, contrast, saturation, a factor (1 changes nothing); resize, the ratio
 * of the smaller size, (0, 1].
 */
export type Augmentation =
  | { readonly name: "kernel"; readonly strength: number; readonly sigma: number }
  | { readonly name: "noise"; readonly strength: number; readonly seed: number }
  | { readonly name: Exclude<TransformName, "kernel" | "noise">; readonly strength: number };

// The four tables: dataprov/augmentations.py and configs/rar.yaml of sprintml/DataProvenanceIAR.

/** Strengths of the main robustness table, in its order. */
export const defaultStrengths: Readonly<Record<TransformName, number>> = {
  noise: 0.05,
  kernel: 9,
  jpeg: 60,
  brightness: 1.6,
  contrast: 2.0,
  saturation: 2.0,
  resize: 0.5,
};

export const transformNames = Object.keys(defaultStrengths) as TransformName[];

/** Strengths of the extended robustness sweep. */
export const strengthRanges: Readonly<Record<TransformName, readonly number[]>> = {
  kernel: [1, 3, 5, 7, 9, 11, 13, 15, 17, 19],
  noise: [0.0, 0.05, 0.1, 0.15, 0.2],
  resize: [0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.55, 0.5],
  jpeg: [100, 90, 80, 70, 60, 50, 40, 30, 20, 10],
  brightness: [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 1.9, 2.0],
  saturation: [1.0, 1.2, 1.4, 1.6, 1.8, 2.0, 2.2, 2.4, 2.6, 2.8, 3.0],
  contrast: [1.0, 1.2, 1.4, 1.6, 1.8, 2.0, 2.2, 2.4, 2.6, 2.8, 3.0],
};

/** What a stage of training draws from: a transform, then one of its strengths, both uniformly. */
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

/** The blur's sigma is uniform between these, in pixels; drawn anew for every image. */
export const sigmaRange: readonly [number, number] = [0.1, 2.0];

/** The official schedule for another number of epochs: 1 : 1 : 4 : 4, the rest strong; none below five epochs. */
export function scheduleFor(epochs: number): Schedule {
  if (epochs <= 4) return [["none", epochs]];
  const unit = Math.max(1, Math.trunc(epochs / 10));
  const medium = Math.min(4 * unit, epochs - 2 * unit);
  return [["none", unit], ["weak", unit], ["medium", medium], ["strong", epochs - 2 * unit - medium]];
}

/** The stage of an epoch, counted from 0; after the end of the schedule its last stage goes on. */
export function stageForEpoch(epoch: number, schedule: Schedule = officialSchedule): Stage {
  let end = 0;
  for (const [stage, epochs] of schedule) {
    end += epochs;
    if (epoch < end) return stage;
  }
  return schedule.at(-1)?.[0] ?? "none";
}

export interface SampleOptions {
  /** Chance that a step is augmented at all; 0.5 as in the reference's training. */
  readonly probability?: number;
  /** Which image of the step's batch: they share transform and strength, but not sigma and noise. Default 0. */
  readonly image?: number;
}

/**
 * Draws the transform of a training step, or null to leave its images as they are.
 *
 * A function of its arguments alone (numbers by counter, no state): a run that resumes at a step draws what the
 * uninterrupted run drew. `seed` and `step` are integers of 0 to 2^53 - 1, `image` of 0 to 2^21 - 1.
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
  const [chance, which, strongly, own] = words;
  if (chance / 2 ** 32 >= probability) return null;
  const strengths = stageStrengths[stage];
  const name = pick(transformNames, which);
  const strength = pick(strengths[name], strongly);
  if (name !== "kernel" && name !== "noise") return { name, strength };
  // `own` is the same for the whole batch; beside the image's number it gives every image numbers of its own.
  philox(seed, IMAGE_STREAM, own * 2 ** 21 + image, words);
  const [low, high] = sigmaRange;
  return name === "kernel"
    ? { name, strength, sigma: low + (high - low) * (words[0] / 2 ** 32) }
    : { name, strength, seed: words[1] * 2 ** 21 + (words[2] >>> 11) };
}

/** Streams of random numbers for these draws alone. */
const STEP_STREAM = 0x61756773, IMAGE_STREAM = 0x61756769; // "augs", "augi"

function pick<T>(choices: readonly T[], word: number): T {
  return choices[Math.trunc((word / 2 ** 32) * choices.length)];
}
