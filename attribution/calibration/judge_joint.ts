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
import { fitStretches, type JudgedVerdict, whyUninformative } from "./fit_confidence.ts";

/** A labelled image, with its readings by a model that was fitted without it. */
export interface ReadLine {
  readonly label: Label;
  readonly line: MeasuredLine;
  readonly readings: Readings;
}

/** What the verdicts on unseen images show. */
export interface JointJudgement {
  readonly misses: MissTable;
  readonly stretches: Stretches;
  readonly unsureBelow: number;
}

/** Verdicts with at least the confidence `unsureBelow` are right at this rate or more. */
const rateOfSure = 0.98;

/**
 * Judges images that are in their place: originals and processed copies. Throws a CalibrationError where the confidences
 * carry no information.
 */
export function judgeJoint(lines: readonly ReadLine[]): JointJudgement {
  const decide = ({ line, readings }: ReadLine, misses?: MissTable) =>
    decideJoint([{ weight: 1, readings }], line, misses);
  const misses = countMisses(lines.map((item) => ({ ...item, decision: decide(item) })));
  const verdicts = lines.map((item): JudgedVerdict => {
    const { finding, label, raw } = decide(item, misses);
    return { finding, raw, isRight: label === item.label };
  });
  const stretches = fitStretches(verdicts);
  const confidences = verdicts.map(({ finding, raw }) => stretchConfidence(stretchOf(stretches, finding), raw));
  const right = verdicts.map(({ isRight }) => isRight);
  const problem = whyUninformative(confidences, right);
  if (problem !== undefined) throw new CalibrationError(`joint: the confidence carries no information: ${problem}`);
  return { misses, stretches, unsureBelow: leastSure(confidences, right) };
}

/** Counts generated images, by every kind that an image belongs to, and those of them in which nothing was found. */
function countMisses(
  lines: readonly { readonly label: Label; readonly line: MeasuredLine; readonly decision: JointDecision }[],
): MissTable {
  const table: Record<string, { images: number; missed: number }> = {};
  for (const { label, line, decision } of lines) {
    if (label === outlierLabel) continue;
    for (const kind of historyKinds(line.facts)) {
      const counts = table[kind] ??= { images: 0, missed: 0 };
      counts.images++;
      if (decision.finding === "none") counts.missed++;
    }
  }
  return table;
}

/** The least confidence from which on verdicts are right at the rate `rateOfSure`, to two digits; 0 if all are. */
export function leastSure(confidences: readonly number[], right: readonly boolean[]): number {
  const order = confidences.map((_, i) => i).sort((a, b) => confidences[b] - confidences[a]);
  let hits = 0, least = 1;
  order.forEach((i, n) => {
    if (right[i]) hits++;
    const isLast = n + 1 === order.length || confidences[order[n + 1]] < confidences[i];
    if (isLast && hits / (n + 1) >= rateOfSure) least = n + 1 === order.length ? 0 : confidences[i];
  });
  return Math.ceil(100 * least) / 100;
}
