/**
 * Judges the verdicts of `joint` on images that the model has not seen: how confidences become rates of being right,
 * how often nothing is found in generated images, and below which confidence verdicts are unsure.
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
  /** What was done to it, see `Example`; or `stranger` for a known variant's image that is read as a stranger's. */
  readonly role: Example["role"] | "stranger";
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
 * The shares of outliers among the verdicts that confidences are fitted to, however many there are: of images of the
 * label folders, and of two kinds that are harder, generated images off their grid and images read as strangers'.
 */
const outlierShares = { outlier: 0.1, moved: 0.1, stranger: 0.1 } as const;

/** Verdicts with at least the confidence `unsureBelow` are right at this rate or more. */
const rateOfSure = 0.95;

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
    const truth = isOutlier(item) ? outlierLabel : item.label;
    return { finding, raw, isRight: label === truth, weight: weights[i] };
  });
  const stretches = fitStretches(verdicts);
  const confidences = verdicts.map(({ finding, raw }) => stretchConfidence(stretchOf(stretches, finding), raw));
  const right = verdicts.map(({ isRight }) => isRight);
  const problem = whyUninformative(confidences, right);
  if (problem !== undefined) throw new CalibrationError(`joint: the confidence carries no information: ${problem}`);
  return { misses, stretches, unsureBelow: leastSure(confidences, right, weights) };
}

function isOutlier({ label, role }: ReadLine): boolean {
  return label === outlierLabel || role === "moved" || role === "stranger";
}

/** Weights by which outliers have their shares, and which add up to the number of images. */
function verdictWeights(lines: readonly ReadLine[]): number[] {
  const kinds = lines.map((line) => {
    if (!isOutlier(line)) return "own";
    return line.role === "moved" || line.role === "stranger" ? line.role : "outlier";
  });
  const counts = new Map<string, number>();
  for (const kind of kinds) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  const shares = new Map<string, number>(Object.entries(outlierShares).filter(([kind]) => counts.has(kind)));
  shares.set("own", 1 - [...shares.values()].reduce((a, b) => a + b, 0));
  return kinds.map((kind) => lines.length * shares.get(kind)! / counts.get(kind)!);
}

/** Counts generated images, by every kind that an image belongs to, and those of them in which nothing was found. */
function countMisses(
  lines: readonly (ReadLine & { readonly decision: JointDecision })[],
): MissTable {
  const table: Record<string, { images: number; missed: number }> = {};
  for (const item of lines) {
    const { line, decision } = item;
    if (isOutlier(item)) continue;
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
