/**
 * A score for every label out of a verdict whose method gives probabilities of some of them. It decides nothing: the label
 * and its confidence are the verdict's.
 */
import { type Rules, standardise } from "../calibration.ts";
import type { Evidence } from "../evidence.ts";
import { familyNames, familyOf, type Label, labels, variantLabels } from "../labels.ts";
import type { FamilyName } from "../../models/family.ts";
import { standardisedScore } from "../verdict.ts";

export type LabelScores = Readonly<Record<Label, number>>;

/**
 * Scores of all nine labels, adding up to 1.
 *
 * A method that gives all of them is taken by its word. One that gives the variants of the family that it decided for leaves
 * the rest to `outlier`. For an outlier, whose variants nobody ran, what is left of the confidence is shared by the
 * families as far as each belongs to them (0.5 at the threshold), and evenly by the variants of a family.
 */
export function labelScores(evidence: Evidence, rules: Rules): LabelScores {
  const own = evidence.scores;
  if (labels.every((label) => own[label] !== undefined)) {
    return Object.fromEntries(labels.map((label) => [label, own[label]])) as Record<Label, number>;
  }
  const scores = Object.fromEntries(labels.map((label) => [label, 0])) as Record<Label, number>;
  if (evidence.family !== null) {
    const best = own[evidence.label];
    const belongs = best > 0 ? Math.min(1, evidence.confidence / best) : 0;
    for (const [label, share] of Object.entries(own)) {
      if (familyOf(label) === evidence.family) scores[label as Label] = belongs * share;
    }
    scores.outlier = 1 - belongs;
    return scores;
  }
  scores.outlier = evidence.confidence;
  const near = familyNames.map((name) => belonging(evidence, rules, name));
  const total = near.reduce((sum, value) => sum + value, 0);
  familyNames.forEach((name, i) => {
    const share = (1 - evidence.confidence) * (total > 0 ? near[i] / total : 1 / familyNames.length);
    for (const label of variantLabels[name]) scores[label] = share / variantLabels[name].length;
  });
  return scores;
}

function belonging({ families }: Evidence, rules: Rules, name: FamilyName): number {
  const rule = rules.families[name];
  if (rule.threshold === null) return 1;
  return 1 / (1 + Math.exp(standardisedScore(families, rules, name) - standardise(rule, rule.threshold)));
}
