/**
 * From evidence to a verdict: a table of methods, each of which says which transformers it wants to hear and then decides.
 * Methods see numbers only; they neither run networks nor read files.
 */
import type { FamilyName } from "../models/family.ts";
import { type Calibration, standardise } from "./calibration.ts";
import type { FamilyEvidence, Measurements, Verdict } from "./evidence.ts";
import { familyNames, familyOf } from "./labels.ts";

type Families = Readonly<Record<FamilyName, FamilyEvidence>>;

/** What a method decides; who is `unsure` is the caller's limit. */
export type Decision = Pick<Verdict, "label" | "confidence" | "family" | "scores">;

export interface Method {
  readonly description: string;
  /** The families whose variants must be run for this image. */
  wants(families: Families, calibration: Calibration): readonly FamilyName[];
  /** Decides. Throws when a variant of a wanted family is missing. */
  decide(evidence: Measurements, calibration: Calibration): Decision;
}

/**
 * Two stages. QuantLoss thresholds choose the family (both pass: the lower standardised QuantLoss wins; none: outlier),
 * then the variant with the lowest perplexity wins.
 */
const perplexity: Method = {
  description: "thresholds on QuantLoss for the family, lowest perplexity for the variant",
  wants(families, calibration) {
    const chosen = chooseFamily(families, calibration);
    return chosen === null ? [] : [chosen];
  },
  decide({ families, variants }, calibration) {
    const family = chooseFamily(families, calibration);
    if (family === null) {
      const confidence = Math.min(...familyNames.map((name) => 1 - belonging(families, calibration, name)));
      return { label: "outlier", confidence, family, scores: {} };
    }
    const own = Object.entries(variants).filter(([label]) => familyOf(label) === family);
    if (own.length === 0) throw new Error(`perplexity: expected likelihoods of the ${family} variants, got none`);
    const weights = softmax(own.map(([, { meanLogProb }]) => calibration.variants.scale * meanLogProb));
    const best = weights.indexOf(Math.max(...weights));
    return {
      label: own[best][0],
      confidence: belonging(families, calibration, family) * weights[best],
      family,
      scores: Object.fromEntries(own.map(([label], i) => [label, weights[i]])),
    };
  },
};

export const methods = { perplexity } as const satisfies Record<string, Method>;
export type MethodName = keyof typeof methods;

/** Decides by the named method and marks the verdict `unsure` below the given confidence (0 to 1). */
export function decide(
  name: MethodName,
  evidence: Measurements,
  calibration: Calibration,
  unsureBelow: number,
): Verdict {
  const decision = methods[name].decide(evidence, calibration);
  return { ...decision, unsure: decision.confidence < unsureBelow, method: name };
}

/** The family whose threshold the image passes; of two, the one with the lower standardised QuantLoss; of none, null. */
export function chooseFamily(families: Families, calibration: Calibration): FamilyName | null {
  const z = (name: FamilyName) => standardise(calibration, name, families[name].quantLoss);
  const passing = familyNames.filter((name) => {
    const { threshold } = calibration.families[name].quantLoss;
    return threshold === null || families[name].quantLoss <= threshold;
  });
  return passing.length === 0 ? null : passing.reduce((best, name) => (z(name) < z(best) ? name : best));
}

/** 0.5 at the threshold, falling by the logistic function of the standardised distance; 1 where there is no threshold. */
function belonging(families: Families, calibration: Calibration, name: FamilyName): number {
  const { threshold } = calibration.families[name].quantLoss;
  if (threshold === null) return 1;
  const z = (loss: number) => standardise(calibration, name, loss);
  return 1 / (1 + Math.exp(z(families[name].quantLoss) - z(threshold)));
}

function softmax(values: readonly number[]): number[] {
  const largest = Math.max(...values);
  const powers = values.map((value) => Math.exp(value - largest));
  const sum = powers.reduce((total, power) => total + power, 0);
  return powers.map((power) => power / sum);
}
