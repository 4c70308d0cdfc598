/**
 * Settings of generated images: the sampler of a variant, from the manifest and the user's changes, and the class of
 * every image. generator.ts draws the images.
 */
import type { Sampler, SamplerSetting } from "../models/draw_rule.ts";
import type { ModelSet } from "../models/model_set.ts";
import { familyNamed } from "../models/registry.ts";
import { randomClass, seriesSeed } from "../models/sampling.ts";

/** Sampler settings that replace those of the manifest. */
export type SamplerOverrides = Readonly<Partial<Record<SamplerSetting, number | undefined>>>;

/** A class for all images, none (null), or a random one for every image. */
export type ClassChoice = number | null | "random";

/** A series of images. Image i depends on these fields and i only, not on the images that are drawn with it. */
export interface Series {
  /** Name of the variant in the model set. */
  readonly variant: string;
  /** 0 to 2^32 - 1. */
  readonly seed: number;
  /** The class condition of the images. */
  readonly class: ClassChoice;
  /** Settings by which tokens are drawn. */
  readonly sampler: Sampler;
  /** Take the likeliest token at every step. */
  readonly argmax: boolean;
  /** VAR's `more_smooth`: images are decoded from mixtures of codes, and `tokens` are not all of what they show. */
  readonly moreSmooth?: boolean;
  /** Round pixels to bytes, as torchvision's save_image, instead of truncating them, as the official samplers. */
  readonly roundBytes?: boolean;
}

/** Command-line options of sampler settings, for messages. */
export const optionNames: Readonly<Record<SamplerSetting, string>> = {
  guidance: "--guidance",
  power: "--power",
  interval: "--guidance-interval",
  temperature: "--temperature",
  topK: "--top-k",
  topP: "--top-p",
};

/**
 * The sampler of a variant with the user's changes. Throws on settings that its family lacks, and on values out of
 * range.
 */
export function chooseSampler(set: ModelSet, variant: string, overrides: SamplerOverrides = {}): Sampler {
  const family = familyNamed(set.familyOf(variant));
  const given = Object.entries(overrides).filter(([, value]) => value !== undefined) as [
    SamplerSetting,
    number,
  ][];
  for (const [name] of given) {
    if (family.samplerSettings.includes(name)) continue;
    const known = family.samplerSettings.map((setting) => optionNames[setting]).join(", ");
    throw new Error(
      `${optionNames[name]}: the sampler of ${variant} (${family.name}) has no such setting; it has ${known}`,
    );
  }
  const { codes } = set.variantFacts(variant);
  const changed: Sampler = { ...set.samplerOf(variant), ...Object.fromEntries(given) };
  const check = (name: SamplerSetting, fits: (value: number) => boolean, expected: string) => {
    const value = changed[name];
    if (value !== undefined && !(Number.isFinite(value) && fits(value))) {
      throw new Error(`${optionNames[name]}: expected ${expected}, got ${value}`);
    }
  };
  check("guidance", () => true, "a number");
  check("power", (x) => x >= 0, "a number of at least 0 (0: the same guidance for all tokens)");
  check("interval", (x) => Number.isInteger(x), "a whole number (-1: all tokens are guided)");
  check("temperature", (x) => x > 0, "a number above 0");
  check(
    "topK",
    (x) => Number.isInteger(x) && x >= 0 && x <= codes,
    `a whole number from 0 (off) to the ${codes} codes of ${variant}`,
  );
  check("topP", (x) => x >= 0 && x <= 1, "a number from 0 (off) to 1");
  return changed;
}

/** Throws unless the variant can draw mixtures of codes. */
export function checkMoreSmooth(set: ModelSet, variant: string, argmax: boolean): void {
  const family = familyNamed(set.familyOf(variant));
  if (!family.mixesCodes) {
    throw new Error(`--more-smooth: the sampler of ${variant} (${family.name}) has no such setting`);
  }
  if (argmax) throw new Error("--more-smooth: draws mixtures of codes, which --argmax does not");
}

/** Throws unless the variant has the class. */
export function checkClass(set: ModelSet, variant: string, choice: ClassChoice): void {
  if (choice === null || choice === "random") return;
  const { classes } = set.variantFacts(variant);
  if (!(Number.isInteger(choice) && choice >= 0 && choice < classes)) {
    throw new Error(`--class: ${variant} has the classes 0 to ${classes - 1}, got ${choice}`);
  }
}

/** The class of one image of a series. */
export function classOf({ variant, seed, class: choice }: Series, image: number, classes: number): number | null {
  return choice === "random" ? randomClass(seriesSeed(seed, variant), image, classes) : choice;
}
