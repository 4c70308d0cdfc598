/**
 * Recipes of fine-tuning: the official ones, the checks of their fields, and the learning rate by epoch.
 */
import { type AdamOptions, constantLr, cosineLr, type Schedule, stepLr } from "../core/tensor/mod.ts";
import type { FamilyName } from "../models/family.ts";
import { familyNamed } from "../models/registry.ts";

/** An optimiser; see `Recipe.optimizer`. */
export type OptimizerName = "adam" | "adamw" | "adam-l2";
/** A schedule of the learning rate; see `Recipe.schedule`. */
export type ScheduleName = "steplr" | "cosine" | "constant";

/** All optimisers. */
export const optimizers: readonly OptimizerName[] = ["adam", "adamw", "adam-l2"];
/** All schedules. */
export const schedules: readonly ScheduleName[] = ["steplr", "cosine", "constant"];

/** Everything that the result of a run depends on, beside data and weights. */
export interface Recipe {
  /** Family whose encoder is trained. */
  readonly family: FamilyName;
  /** Passes over the training images, 1 or more. */
  readonly epochs: number;
  /** Images per step; the last step of an epoch has the rest. */
  readonly batch: number;
  /** Learning rate of the first epoch, above 0. */
  readonly lr: number;
  /** `adamw` decouples weight decay from the gradient; `adam-l2` adds it to the gradient. */
  readonly optimizer: OptimizerName;
  /** 0 or more; 0 for `adam`. */
  readonly weightDecay: number;
  /** Limit for the l2 norm of all gradients; 0 for none. */
  readonly clip: number;
  /** By epoch: `steplr` is lr * gamma^floor(epoch / stepSize), `cosine` falls to 0 at the last epoch. */
  readonly schedule: ScheduleName;
  /** For `steplr`, above 0, at most 1. */
  readonly gamma: number;
  /** For `steplr`, in epochs. */
  readonly stepSize: number;
  /** Seed of the held-out images, the order of the others, and the augmentation. */
  readonly seed: number;
  /** Share of held-out images, 0 to below 1. */
  readonly holdout: number;
  /** Whether half of the steps get images that are processed with growing strength. */
  readonly augment: boolean;
  /**
   * Whether half of the images are processed, each by itself, as `calibrate` processes its copies
   * (attribution/images/edits/). Not together with `augment`.
   */
  readonly ladder: boolean;
  /** Weight of the loss between the decoded prediction and the image; 0 for none. */
  readonly imageLoss: number;
  /** Recompute activations in the backward pass instead of keeping them. Changes memory and time, not results. */
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
  ladder: false,
  imageLoss: 0,
  checkpointing: false,
} as const;

/** The published recipe of a family: "Data Provenance for Image Auto-Regressive Generation" (arXiv 2606.28386). */
export function officialRecipe(family: FamilyName): Recipe {
  return { family, ...familyNamed(family).encoderRecipe, ...common };
}

/** PyTorch's default for AdamW; also that of `adam-l2`, which without decay would equal `adam`. */
const defaultDecay = 0.01;

/** The official recipe of a family with some fields changed. Throws, naming the option, on values out of range. */
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
  expect("ladder", !(recipe.ladder && recipe.augment), "not together with --augment", "both");
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

/** Options of Adam by the recipe. */
export function adamOptions({ optimizer, weightDecay }: Recipe): AdamOptions {
  return { weightDecay, decoupled: optimizer === "adamw" };
}
