/**
 * How well one score separates members from nonmembers: the ROC curve, AUC, and the true positive rate at a false
 * positive rate, as the reference defines them. calibration/thresholds.ts fits the thresholds that decide.
 *
 * Sources: sprintml/DataProvenanceIAR, dataprov/metrics.py; scikit-learn 1.2.1, `roc_curve` and `roc_auc_score`.
 */
import { scaleAndOrder, type Scores } from "./scores.ts";

/** Points of a ROC curve from (0, 0) to (1, 1). Both rates lie in [0, 1] and never fall. */
export interface RocCurve {
  /** Share of the nonmembers whose score is at least the threshold. */
  readonly fpr: readonly number[];
  /** Share of the members whose score is at least the threshold. */
  readonly tpr: readonly number[];
  /** Falling. The first one is 1 above the largest score, so that it accepts nothing. */
  readonly thresholds: readonly number[];
}

/** How scores are read. */
export interface RocOptions {
  /** Members are expected to score lower, as reconstruction losses do. Default true. */
  readonly membersLower?: boolean;
}

/**
 * The ROC curve over scaled scores (scaleAndOrder): one point per distinct score. Points in the middle of a straight
 * run of equal steps are dropped, as scikit-learn does. Throws a RangeError on an empty group.
 */
export function rocCurve(members: Scores, nonmembers: Scores, { membersLower = true }: RocOptions = {}): RocCurve {
  const scaled = scaleAndOrder(members, nonmembers, membersLower);
  const { falseCounts, trueCounts, thresholds } = countsAbove(scaled.members, scaled.nonmembers);
  const last = thresholds.length - 1;
  const bends = (counts: readonly number[], i: number) => counts[i + 1] - 2 * counts[i] + counts[i - 1] !== 0;
  const kept = thresholds.map((_, i) => i).filter((i) =>
    i === 0 || i === last || bends(falseCounts, i) || bends(trueCounts, i)
  );
  return {
    fpr: [0, ...kept.map((i) => falseCounts[i] / nonmembers.length)],
    tpr: [0, ...kept.map((i) => trueCounts[i] / members.length)],
    thresholds: [thresholds[0] + 1, ...kept.map((i) => thresholds[i])],
  };
}

/** For every distinct score, in falling order: how many scores of each group are at least as high. */
function countsAbove(members: Float64Array, nonmembers: Float64Array) {
  const memberScores = members.slice().sort().reverse(), nonmemberScores = nonmembers.slice().sort().reverse();
  const thresholds: number[] = [], trueCounts: number[] = [], falseCounts: number[] = [];
  for (let m = 0, n = 0; m < members.length || n < nonmembers.length;) {
    const score = Math.max(memberScores[m] ?? -Infinity, nonmemberScores[n] ?? -Infinity);
    while (memberScores[m] === score) m++;
    while (nonmemberScores[n] === score) n++;
    thresholds.push(score);
    trueCounts.push(m);
    falseCounts.push(n);
  }
  return { thresholds, trueCounts, falseCounts };
}

/**
 * Area under the ROC curve, 0 to 1: the probability that a member ranks before a nonmember, where ties count half.
 * Guessing gives 0.5. Throws a RangeError on an empty group.
 */
export function auc(members: Scores, nonmembers: Scores, options: RocOptions = {}): number {
  const { fpr, tpr } = rocCurve(members, nonmembers, options);
  let area = 0;
  for (let i = 1; i < fpr.length; i++) area += (fpr[i] - fpr[i - 1]) * (tpr[i] + tpr[i - 1]) / 2;
  return area;
}

/**
 * True positive rate at the last point of the ROC curve whose false positive rate is at most `maxFpr`, 0 to 1. With
 * fewer than 1 / maxFpr nonmembers, no false positive is allowed. Throws a RangeError on an empty group or a rate out
 * of range.
 */
export function tprAtFpr(members: Scores, nonmembers: Scores, maxFpr = 0.01, options: RocOptions = {}): number {
  if (!(maxFpr >= 0 && maxFpr <= 1)) throw new RangeError(`tprAtFpr: expected a rate of 0 to 1, got ${maxFpr}`);
  const { fpr, tpr } = rocCurve(members, nonmembers, options);
  return tpr[fpr.filter((rate) => rate <= maxFpr).length - 1];
}

/**
 * Share of all scores on the right side of 0.5 after scaling: members above 0.5, nonmembers at or below it. This is the
 * reference's `accuracy`. It depends on the largest score, so it says little about a signal. Throws a RangeError on an
 * empty group.
 */
export function accuracyAtHalf(members: Scores, nonmembers: Scores, { membersLower = true }: RocOptions = {}): number {
  const scaled = scaleAndOrder(members, nonmembers, membersLower);
  const right = scaled.members.filter((score) => score > 0.5).length +
    scaled.nonmembers.filter((score) => score <= 0.5).length;
  return right / (members.length + nonmembers.length);
}
