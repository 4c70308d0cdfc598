/**
 * The model families that the program knows. A family is a folder below models/ and a row here; nothing else names one.
 */
import type { Stranger } from "./checkpoint/load.ts";
import type { Family, FamilyName } from "./family.ts";
import type { WeightSpec } from "./weights.ts";
import { llamagen, llamagen384 } from "./llamagen/family.ts";
import { rar } from "./rar/family.ts";
import { varFamily } from "./var/family.ts";

/** In the order in which results list them. */
export const families: readonly Family[] = [rar, varFamily, llamagen, llamagen384];

/** Their names, in that order. */
export const familyNames: readonly FamilyName[] = families.map(({ name }) => name);

/** The family of that name. Throws a RangeError on any other, listing the names. */
export function familyNamed(name: FamilyName): Family {
  const family = families.find((row) => row.name === name);
  if (family !== undefined) return family;
  throw new RangeError(`family: expected ${familyNames.join(", ")}, got ${name}`);
}

/** Checkpoints that are known and none of a family's networks. */
export const strangers: readonly Stranger[] = families.flatMap((family) => family.strangers ?? []);

/** The parameters of a family's official transformers by title, so that messages can say which one a file fits. */
export function officialSpecs(name: FamilyName): ReadonlyMap<string, readonly WeightSpec[]> {
  const family = familyNamed(name);
  return new Map(family.officialVariants.map(({ title, config }) => [title, family.variantSpecs(config)]));
}
