/**
 * The labels of a run: the variants of its model set and `outlier`, spelled as in data folders and submissions.
 * What a variant's model looks like is the model set's business (models/manifest.ts).
 */
import type { ByFamily, FamilyName } from "../models/family.ts";
import type { ModelSet } from "../models/model_set.ts";

/** A variant's name, or `outlier`. */
export type Label = string;

/** The label of images that no variant of the set made. */
export const outlierLabel = "outlier";

/** What a row says instead of a label when its image could not be read. */
export const unreadableLabel = "unreadable";

/** Instead of a label where nothing was decided. */
export const noLabel = "";

/** The labels that a model set can give. */
export interface Labels {
  /** Families in the order of the registry. */
  readonly families: readonly FamilyName[];
  /** Variants of each, in the order of the manifest: from small to large. */
  readonly variants: ByFamily<readonly string[]>;
  /** All variants, family by family, then `outlier`. */
  readonly all: readonly Label[];
  /** The family of a variant, null for `outlier`. Throws a RangeError on any other name, listing the labels. */
  familyOf(label: Label): FamilyName | null;
}

/** The labels of a set. */
export function labelsOf(set: Pick<ModelSet, "families" | "variants">): Labels {
  return makeLabels(Object.fromEntries(set.families.map((family) => [family, set.variants(family)])));
}

/** The labels of these variants by family; families in the order of the keys. */
export function makeLabels(variants: ByFamily<readonly string[]>): Labels {
  const families = Object.keys(variants);
  const all = [...families.flatMap((family) => variants[family]), outlierLabel];
  const byLabel = new Map<Label, FamilyName | null>([[outlierLabel, null]]);
  for (const family of families) for (const variant of variants[family]) byLabel.set(variant, family);
  return {
    families,
    variants,
    all,
    familyOf(label) {
      const family = byLabel.get(label);
      if (family !== undefined) return family;
      throw new RangeError(`label: expected one of ${all.join(", ")}, got ${label}`);
    },
  };
}

/** The group that family accuracy is counted in: the label's family, or `outlier`. */
export function groupOf(labels: Labels, label: Label): FamilyName | typeof outlierLabel {
  return labels.familyOf(label) ?? outlierLabel;
}

/** A value for every family of a set. */
export function mapFamilies<T>(families: Iterable<FamilyName>, make: (family: FamilyName) => T): Record<FamilyName, T> {
  return Object.fromEntries(Array.from(families, (family) => [family, make(family)]));
}
