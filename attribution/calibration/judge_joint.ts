/**
 * Judges the verdicts of `joint` on images that the model has not seen: how confidences become rates of being right, how
 * often nothing is found in generated images, and below which confidence verdicts are unsure.
 */
import { stretchConfidence, type Stretches, stretchOf } from "../decision/classifiers/confidence.ts";
import { historyKinds } from "../decision/classifiers/history.ts";
import type { Readings } from "../decision/classifiers/joint.ts";
import type { MissTable } from "../decision/classifiers/miss_table.ts";
import { decideJoint, type JointDecision } from "../decision/finding.ts";
import type { MeasuredLine } from "../evidence/evidence.ts";
import { type Label, outlierLabel } from "../labels.ts";
import { CalibrationError } from "../../util/errors.ts";
import type { Example } from "./fit_joint.ts";
import { fitStretches, type JudgedVerdict, whyUninformative } from "./fit_confidence.ts";

/** A labelled image, with its readings by a model that was fitted without it. */
export interface ReadLine {
  readonly label: Label;
  /** What was done to it, see `Example`. */
  readonly role: Example["role"];
  readonly line: MeasuredLine;
  readonly readings: Readings;
}

/** What the verdicts on unseen images show. */
export interface JointJudgement {
  readonly misses: MissTable;
  readonly stretches: Stretches;
  readonly unsureBelow: number;
}

/**
 * The share of outliers among the verdicts that confidences are fitted to, however many there are: half of it images of
 * label folders, half of it generated images off their grid, which are harder.
 */
const outlierShare = 0.3;

/** Verdicts with at least the confidence `unsureBelow` are right at this rate or more. */
const rateOfSure = 0.98;

/**
 * Judges images. Generated ones off their grid count as outliers: as they are, they have no traces. Throws a
 * CalibrationError where the confidences carry no information.
 */
export function judgeJoint(lines: readonly ReadLine[]): JointJudgement {
  const decide = ({ line, readings }: ReadLine, misses?: MissTable) =>
    decideJoint([{ weight: 1, readings }], line, misses);
  const misses = countMisses(lines.map((item) => ({ ...item, decision: decide(item) })));
  const weights = verdictWeights(lines);
  const verdicts = lines.map((item, i): JudgedVerdict => {
    const { finding, label, raw } = decide(item, misses);
    const truth = item.role === "moved" ? outlierLabel : item.label;
    return { finding, raw, isRight: label === truth, weight: weights[i] };
  });
  const stretches = fitStretches(verdicts);
  const confidences = verdicts.map(({ finding, raw }) => stretchConfidence(stretchOf(stretches, finding), raw));
  const right = verdicts.map(({ isRight }) => isRight);
  const problem = whyUninformative(confidences, right);
  if (problem !== undefined) throw new CalibrationError(`joint: the confidence carries no information: ${problem}`);
  return { misses, stretches, unsureBelow: leastSure(confidences, right, weights) };
}

/** Weights by which outliers have their share, and which add up to the number of images in their place. */
function verdictWeights(lines: readonly ReadLine[]): number[] {
  const kindOf = ({ label, role }: ReadLine) => role === "moved" ? "moved" : label === outlierLabel ? "outlier" : "own";
  const counts = { moved: 0, outlier: 0, own: 0 };
  for (const line of lines) counts[kindOf(line)]++;
  const without = [counts.moved, counts.outlier].filter((count) => count > 0).length;
  const total = counts.own + counts.outlier, share = without === 0 ? 0 : outlierShare / without;
  return lines.map((line) => {
    const kind = kindOf(line);
    return total * (kind === "own" ? 1 - share * without : share) / counts[kind];
  });
}

/** Counts generated images, by every kind that an image belongs to, and those of them in which nothing was found. */
function countMisses(
  lines: readonly (ReadLine & { readonly decision: JointDecision })[],
): MissTable {
  const table: Record<string, { images: number; missed: number }> = {};
  for (const { label, role, line, decision } of lines) {
    if (label === outlierLabel || role === "moved") continue;
    for (const kind of historyKinds(line.facts)) {
      const counts = table[kind] ??= { images: 0, missed: 0 };
      counts.images++;
      if (decision.finding === "none") counts.missed++;
    }
  }
  return table;
}

/** The least confidence from which on verdicts are right at the rate `rateOfSure`, to two digits; 0 if all are. */
export function leastSure(
  confidences: readonly number[],
  right: readonly boolean[],
  weights: readonly number[] = right.map(() => 1),
): number {
  const order = confidences.map((_, i) => i).sort((a, b) => confidences[b] - confidences[a]);
  let hits = 0, all = 0, least = 1;
  order.forEach((i, n) => {
    all += weights[i];
    if (right[i]) hits += weights[i];
    const isLast = n + 1 === order.length || confidences[order[n + 1]] < confidences[i];
    if (isLast && hits / all >= rateOfSure) least = n + 1 === order.length ? 0 : confidences[i];
  });
  return Math.ceil(100 * least) / 100;
}
