/** Names of the stages of the work on an image: what is planned, kept, followed and timed by itself. */
import type { FamilyName } from "../../models/family.ts";

/** The signals and tokens of a family. */
export function tokenizerStage(family: FamilyName): string {
  return `${family} tokenizer`;
}

/** The classes of a family, inferred with one of its variants. */
export function classesStage(variant: string): string {
  return `classes by ${variant}`;
}

/** The likelihoods under a variant. */
export function variantStage(variant: string): string {
  return variant;
}

/** The passes that search an image for poses. */
export const searchStage = "search";

/** A stage of the work on a pose that a search found. */
export function posedStage(stage: string): string {
  return `${stage}, of a pose`;
}
