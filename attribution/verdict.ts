/**
 * From evidence to a verdict: a table of methods, each of which says which transformers it wants to hear and then decides.
 * Methods see numbers only; they neither run networks nor read files.
 */
import type { FamilyName } from "../models/family.ts";
import { passes, type Rules, ruleScore, standardise } from "./calibration.ts";
import type { FamilyEvidence, Measurements, Verdict } from "./evidence.ts";
import { familyNames, familyOf } from "./labels.ts";

export type { Rules } from "./calibration.ts";

type Families = Readonly<Record<FamilyName, FamilyEvidence>>;

/** What a method decides; who is `unsure` is the caller's limit. */
export type Decision = Pick<Verdict, "label" | "confidence" | "family" | "scores">;

export interface Method {
  readonly description: string;
  /** The families whose variants must be run for this image. */
  wants(families: Families, rules: Rules): readonly FamilyName[];
  /** Decides. Throws when a variant of a wanted family is missing. */
  decide(evidence: Measurements, rules: Rules): Decision;
}

/**
 * Two stages. Thresholds on a signal choose the family (both pass: the lower standardised score wins; none: outlier), then
 * the variant with the lowest perplexity wins.
 */
const perplexity: Method = {
  description: "thresholds on reconstruction signals for the family, lowest perplexity for the variant",
  wants(families, rules) {
    const chosen = chooseFamily(families, rules);
    return chosen === null ? [] : [chosen];
  },
  decide({ families, variants }, rules) {
    const family = chooseFamily(families, rules);
    if (family === null) {
      const confidence = Math.min(...familyNames.map((name) => 1 - belonging(families, rules, name)));
      return { label: "outlier", confidence, family, scores: {} };
    }
    const own = Object.entries(variants).filter(([label]) => familyOf(label) === family);
    if (own.length === 0) throw new Error(`perplexity: expected likelihoods of the ${family} variants, got none`);
    const weights = softmax(own.map(([, { meanLogProb }]) => rules.variantScale * meanLogProb));
    const best = weights.indexOf(Math.max(...weights));
    return {
      label: own[best][0],
      confidence: belonging(families, rules, family) * weights[best],
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
  rules: Rules,
  unsureBelow: number,
): Verdict {
  const decision = methods[name].decide(evidence, rules);
  return { ...decision, unsure: decision.confidence < unsureBelow, method: name };
}

/** The family whose threshold the image passes; of two, the one with the lower standardised score; of none, null. */
export function chooseFamily(families: Families, rules: Rules): FamilyName | null {
  const passing = familyNames.filter((name) => passes(rules, families, name));
  const distance = (name: FamilyName) => standardisedScore(families, rules, name);
  return passing.length === 0 ? null : passing.reduce((best, name) => (distance(name) < distance(best) ? name : best));
}

/** How far an image is from a typical one of the family, in standard deviations; larger for a worse fit. */
export function standardisedScore(families: Families, rules: Rules, name: FamilyName): number {
  return standardise(rules.families[name], ruleScore(rules, families, name));
}

/** 0.5 at the threshold, falling by the logistic function of the standardised distance; 1 where there is no threshold. */
function belonging(families: Families, rules: Rules, name: FamilyName): number {
  const rule = rules.families[name];
  if (rule.threshold === null) return 1;
  return 1 / (1 + Math.exp(standardisedScore(families, rules, name) - standardise(rule, rule.threshold)));
}

function softmax(values: readonly number[]): number[] {
  const largest = Math.max(...values);
  const powers = values.map((value) => Math.exp(value - largest));
  const sum = powers.reduce((total, power) => total + power, 0);
  return powers.map((power) => power / sum);
}
