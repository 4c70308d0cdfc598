/**
 * The nine labels of a verdict, and which family each belongs to. Spelled exactly as in data folders and submissions.
 * What a label's model looks like is the model set's business (models/manifest.ts).
 */
import type { FamilyName } from "../models/family.ts";

/** Variants by family, from small to large. */
export const variantLabels = {
  rar: ["rarb", "rarl", "rarxl", "rarxxl"],
  var: ["var16", "var20", "var24", "var30"],
} as const satisfies Record<FamilyName, readonly string[]>;

export type VariantLabel = (typeof variantLabels)[FamilyName][number];
export type Label = VariantLabel | "outlier";

export const familyNames: readonly FamilyName[] = ["rar", "var"];

export const labels: readonly Label[] = [...variantLabels.rar, ...variantLabels.var, "outlier"];

/** What a row says instead of a label when its image could not be read. */
export const unreadableLabel = "unreadable";

/** The family that a variant's label belongs to. Throws on any other name, listing the labels. */
export function familyOf(variant: string): FamilyName {
  for (const family of familyNames) {
    if ((variantLabels[family] as readonly string[]).includes(variant)) return family;
  }
  const known = familyNames.flatMap((family) => variantLabels[family]).join(", ");
  throw new Error(`label: expected one of ${known}, got ${variant}`);
}
