/**
 * A score for every label out of a verdict whose method gives probabilities of some of them. It decides nothing: the label
 * and its confidence are the verdict's.
 */
import type { Rules } from "../decision/calibration_file.ts";
import type { Evidence } from "../evidence/evidence.ts";
import { type Label, outlierLabel } from "../labels.ts";
import { belonging, judging } from "../decision/methods.ts";

export type LabelScores = Readonly<Record<Label, number>>;

/**
 * Scores of all labels that the image can have, adding up to 1: variants for images of its size, and `outlier`. They are as the method has them: a confidence that was calibrated is not the
 * score of its label.
 *
 * A method that gives all of them is taken by its word. One that gives the variants of the family that it decided for leaves
 * the rest to `outlier`. For an outlier, whose variants nobody ran, what is left is shared by the families as far as each
 * belongs to them (0.5 at the threshold), and evenly by the variants of a family.
 */
export function labelScores(evidence: Evidence, rules: Rules): LabelScores {
  const own = evidence.scores, { variants } = rules.labels, families = judging(evidence.families, rules);
  const labels = [...families.flatMap((name) => variants[name]), outlierLabel];
  if (labels.every((label) => own[label] !== undefined)) {
    const total = labels.reduce((sum, label) => sum + own[label], 0);
    return Object.fromEntries(labels.map((label) => [label, own[label] / total]));
  }
  const scores: Record<Label, number> = Object.fromEntries(labels.map((label) => [label, 0]));
  const near = families.map((name) => belonging(evidence.families, rules, name));
  if (evidence.family !== null) {
    const belongs = near[families.indexOf(evidence.family)];
    for (const [label, share] of Object.entries(own)) scores[label] = belongs * share;
    scores[outlierLabel] = 1 - belongs;
    return scores;
  }
  const rest = Math.max(...near), total = near.reduce((sum, value) => sum + value, 0);
  scores[outlierLabel] = 1 - rest;
  families.forEach((name, i) => {
    for (const label of variants[name]) {
      scores[label] = total > 0 ? rest * near[i] / total / variants[name].length : 0;
    }
  });
  return scores;
}
