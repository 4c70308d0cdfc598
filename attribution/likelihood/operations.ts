/** What the transformers cost per image, from configurations alone, and settings of class inference within a budget. */
import type { PlannedDevice } from "../../models/footprint.ts";
import type { FamilyName } from "../../models/family.ts";
import type { ModelSet } from "../../models/model_set.ts";
import { defaultInference, inferenceOf, type InferenceSettings, type Thoroughness } from "./class_inference.ts";

/** What decides how many passes there are. */
export interface PassSettings {
  /** The class under which tokens are scored. */
  readonly condition: "none" | "given" | "infer";
  /** How classes are inferred. */
  readonly inference?: Thoroughness & Pick<InferenceSettings, "families">;
}

/** A set as the count sees it. */
export type CountedSet = Pick<ModelSet, "families" | "variants" | "variantFacts" | "footprint">;

/**
 * Operations of the transformers for an image that these families, by default all of the set, might have made: two per
 * parameter and token and pass, of the passes for inferring classes and for scoring without a class and under each of the
 * most classes that are kept. Shared conditions, and classes that are left out, make it less: 64 TFLOP for the official
 * networks, of which kernels take 47.
 */
export function transformerOperations(
  set: CountedSet,
  { condition, inference = defaultInference }: PassSettings,
  device: PlannedDevice,
  families: readonly FamilyName[] = set.families,
): number {
  const pass = (family: FamilyName, variant: string) => {
    const parameters = set.footprint(device, { family, variant }, "f32").weights / 4;
    return 2 * parameters * set.variantFacts(variant).tokenCount;
  };
  return families.reduce((sum, family) => {
    const names = set.variants(family);
    const { budget, top } = inferenceOf(inference, family);
    const classes = condition === "none" ? 0 : condition === "given" ? 1 : top;
    const scoring = names.reduce((total, name) => total + (1 + classes) * pass(family, name), 0);
    const inferring = condition === "infer" && names.length > 0 ? budget * pass(family, names[0]) : 0;
    return sum + scoring + inferring;
  }, 0);
}

/**
 * Settings of class inference from thorough to cheap. Classes that are kept cost passes of every variant, and one in place
 * of the mixture costs two or three variants in a hundred (docs/likelihood.md), so that comes last.
 */
export const inferenceLadder: readonly Thoroughness[] = [
  { budget: defaultInference.budget, top: defaultInference.top },
  { budget: 30, top: 4 },
  { budget: 20, top: 3 },
  { budget: 15, top: 2 },
  { budget: 10, top: 2 },
  { budget: 10, top: 1 },
  { budget: 5, top: 1 },
];

/**
 * Operations that the transformers may take for an image of a family where nobody says how many. The official VAR's
 * transformers take more with the default settings; `inferenceLadder` has the accuracy of what is left (docs/scale.md).
 */
export const usualBudget = 30e12;

/**
 * The most thorough settings under which an image of any one family costs at most so many operations of the transformers.
 * Every family has its own: what one with small transformers does not need, one with large ones cannot use. Throws a
 * RangeError when no settings do.
 */
export function inferenceWithin(set: CountedSet, operations: number, device: PlannedDevice): InferenceSettings {
  const rungs = set.families.map((family) => rungWithin(set, family, operations, device));
  if (rungs.includes(-1)) {
    const last = inferenceLadder[inferenceLadder.length - 1];
    const least = Math.max(...set.families.map((family) => costOf(set, family, last, device)));
    const without = Math.max(...set.families.map((family) => {
      return transformerOperations(set, { condition: "none" }, device, [family]);
    }));
    throw new RangeError(
      `--budget: expected ${show(least)} TFLOP or more with classes inferred, got ${show(operations)}; ` +
        `--condition none takes ${show(without)}`,
    );
  }
  return settingsOf(set.families, rungs);
}

/** The settings within `usualBudget`; the cheapest there are for a family whose transformers always take more. */
export function usualInference(set: CountedSet, device: PlannedDevice): InferenceSettings {
  const rungs = set.families.map((family) => rungWithin(set, family, usualBudget, device));
  return settingsOf(set.families, rungs.map((rung) => rung < 0 ? inferenceLadder.length - 1 : rung));
}

/** The most thorough rung of a family that costs no more; -1 for none. */
function rungWithin(set: CountedSet, family: FamilyName, operations: number, device: PlannedDevice): number {
  return inferenceLadder.findIndex((rung) => costOf(set, family, rung, device) <= operations);
}

function costOf(set: CountedSet, family: FamilyName, inference: Thoroughness, device: PlannedDevice): number {
  return transformerOperations(set, { condition: "infer", inference }, device, [family]);
}

/** The most thorough of the rungs for all, and those of families that have another. */
function settingsOf(families: readonly FamilyName[], rungs: readonly number[]): InferenceSettings {
  const most = Math.min(...rungs);
  const others = families.flatMap((family, i) => rungs[i] === most ? [] : [[family, inferenceLadder[rungs[i]]]]);
  return {
    ...defaultInference,
    ...inferenceLadder[most],
    ...others.length > 0 && { families: Object.fromEntries(others) },
  };
}

function show(operations: number): string {
  return String(Number((operations / 1e12).toPrecision(2)));
}
