/**
 * What images are drawn with: the sampler of a variant, from the manifest and from what a user wants otherwise, and the
 * class of every image. It draws nothing; see generator.ts.
 */
import type { Sampler, SamplerSetting } from "../models/draw_rule.ts";
import type { ModelSet } from "../models/model_set.ts";
import { familyNamed } from "../models/registry.ts";
import { randomClass, seriesSeed } from "../models/sampling.ts";

/** What differs from the manifest. */
export type SamplerOverrides = Readonly<Partial<Record<SamplerSetting, number | undefined>>>;

/** A class, no class (null), or one that is drawn for every image. */
export type ClassChoice = number | null | "random";

/** A series of images: image i of it is the same whenever and with whatever others it is drawn. */
export interface Series {
  /** Name in the model set. */
  readonly variant: string;
  /** 0 to 2^32 - 1. */
  readonly seed: number;
  /** The same for all images, or drawn for each. */
  readonly class: ClassChoice;
  /** How tokens are drawn. */
  readonly sampler: Sampler;
  /** Take the likeliest token at every step. */
  readonly argmax: boolean;
}

/** The options that change settings of samplers. */
export const optionNames: Readonly<Record<SamplerSetting, string>> = {
  guidance: "--guidance",
  power: "--power",
  temperature: "--temperature",
  topK: "--top-k",
  topP: "--top-p",
};

/** The manifest's sampler of a variant with a user's changes. Throws on settings that it does not have or cannot have. */
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
  check("power", (x) => x > 0, "a number above 0");
  check("temperature", (x) => x > 0, "a number above 0");
  check(
    "topK",
    (x) => Number.isInteger(x) && x >= 0 && x <= codes,
    `a whole number from 0 (off) to the ${codes} codes of ${variant}`,
  );
  check("topP", (x) => x >= 0 && x <= 1, "a number from 0 (off) to 1");
  return changed;
}

/** Throws unless the class is one of the variant's. */
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
