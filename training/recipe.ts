/**
 * How an encoder is fine-tuned, as data: the official recipes, their checks, and the learning rate by epoch.
 * It deliberately knows neither files nor tensors.
 */
import { type AdamOptions, constantLr, cosineLr, type Schedule, stepLr } from "../core/tensor/mod.ts";
import type { FamilyName } from "../models/family.ts";
import { familyNamed } from "../models/registry.ts";

/** Which optimiser: see `Recipe.optimizer`. */
export type OptimizerName = "adam" | "adamw" | "adam-l2";
/** How the learning rate falls: see `Recipe.schedule`. */
export type ScheduleName = "steplr" | "cosine" | "constant";

export const optimizers: readonly OptimizerName[] = ["adam", "adamw", "adam-l2"];
export const schedules: readonly ScheduleName[] = ["steplr", "cosine", "constant"];

/** Everything that decides what a run computes, besides its data and its weights. */
export interface Recipe {
  /** Whose encoder is trained. */
  readonly family: FamilyName;
  /** Passes over the training images, 1 or more. */
  readonly epochs: number;
  /** Images per step; the last step of an epoch has the rest. */
  readonly batch: number;
  /** Learning rate of the first epoch, above 0. */
  readonly lr: number;
  /** `adamw` shrinks weights apart from the gradient, `adam-l2` adds the decay to the gradient. */
  readonly optimizer: OptimizerName;
  /** 0 or more; 0 for `adam`. */
  readonly weightDecay: number;
  /** Largest l2 norm of all gradients together; 0 for none. */
  readonly clip: number;
  /** By epoch: `steplr` is lr * gamma^floor(epoch / stepSize), `cosine` falls to 0 at the last epoch. */
  readonly schedule: ScheduleName;
  /** For `steplr`, above 0, at most 1. */
  readonly gamma: number;
  /** For `steplr`, in epochs. */
  readonly stepSize: number;
  /** Decides the held-out images, the order of the others, and the augmentation. */
  readonly seed: number;
  /** Share of the images that is held out. */
  readonly holdout: number;
  /** Post-processing of growing strength in half of the steps. */
  readonly augment: boolean;
  /** Weight of the loss between the decoded prediction and the image; 0 for none. */
  readonly imageLoss: number;
  /** Recompute activations on the way back instead of keeping them. Changes memory and time, not results. */
  readonly checkpointing: boolean;
}

const common = {
  optimizer: "adam",
  weightDecay: 0,
  clip: 0,
  schedule: "steplr",
  gamma: 0.9,
  stepSize: 2,
  seed: 0,
  holdout: 0.1,
  augment: false,
  imageLoss: 0,
  checkpointing: false,
} as const;

/** The published recipe of a family: "Data Provenance for Image Auto-Regressive Generation" (arXiv 2606.28386). */
export function officialRecipe(family: FamilyName): Recipe {
  return { family, ...familyNamed(family).encoderRecipe, ...common };
}

/** PyTorch's decay of AdamW; also taken for `adam-l2`, which without decay would be `adam`. */
const defaultDecay = 0.01;

/** The official recipe of a family with some fields changed. Throws naming the option whose value is out of range. */
export function makeRecipe(family: FamilyName, changes: Partial<Recipe> = {}): Recipe {
  const given = Object.fromEntries(Object.entries(changes).filter(([, value]) => value !== undefined));
  const recipe: Recipe = { ...officialRecipe(family), ...given, family };
  const { optimizer } = recipe;
  if (changes.weightDecay === undefined && optimizer !== "adam") {
    return makeRecipe(family, { ...given, weightDecay: defaultDecay });
  }
  const expect = (option: string, good: boolean, expected: string, got: unknown) => {
    if (!good) throw new Error(`--${option}: expected ${expected}, got ${got}`);
  };
  const whole = (value: number) => Number.isSafeInteger(value) && value >= 1;
  const { epochs, batch, lr, weightDecay, clip, gamma, stepSize, seed, holdout, imageLoss } = recipe;
  expect("epochs", whole(epochs), "a whole number, 1 or more", epochs);
  expect("batch", whole(batch), "a whole number, 1 or more", batch);
  expect("lr", lr > 0 && lr < Infinity, "a number above 0", lr);
  expect("weight-decay", weightDecay >= 0 && weightDecay < Infinity, "a number, 0 or more", weightDecay);
  expect(
    "weight-decay",
    optimizer !== "adam" || weightDecay === 0,
    "0 for adam (adamw and adam-l2 decay)",
    weightDecay,
  );
  expect("clip", clip >= 0 && clip < Infinity, "a number, 0 (off) or more", clip);
  expect("gamma", gamma > 0 && gamma <= 1, "a number above 0, at most 1", gamma);
  expect("step-size", whole(stepSize), "a whole number of epochs, 1 or more", stepSize);
  expect("seed", Number.isSafeInteger(seed) && seed >= 0, "a whole number, 0 or more", seed);
  expect("holdout", holdout >= 0 && holdout < 1, "a share, from 0 to below 1", holdout);
  expect("image-loss", imageLoss >= 0 && imageLoss < Infinity, "a weight, 0 (off) or more", imageLoss);
  return recipe;
}

/** The learning rate of every epoch, counted from 0. */
export function learningRate({ schedule, lr, epochs, stepSize, gamma }: Recipe): Schedule {
  if (schedule === "steplr") return stepLr(lr, stepSize, gamma);
  return schedule === "cosine" ? cosineLr(lr, epochs) : constantLr(lr);
}

export function adamOptions({ optimizer, weightDecay }: Recipe): AdamOptions {
  return { weightDecay, decoupled: optimizer === "adamw" };
}
