/**
 * How good likelihood ratios are: Cllr, its minimum, Tippett curves. A likelihood ratio (LR) says how much likelier the
 * evidence is if a model of the set made the image (a member) than if none did (an outlier).
 *
 * Functions take log10 of LRs, which may be infinite, whether each is of a member, and optionally how often each counts
 * (whole numbers, as a bootstrap sample draws them). They throw a RangeError if the lists differ in length. Without
 * members or without outliers, costs are null.
 *
 * Sources: Brümmer and du Preez (2006), Ramos and Gonzalez-Rodriguez (2013).
 */
import { isotonicSteps } from "./isotonic.ts";

/**
 * The cost of LRs in bits: half the mean of log2(1 + 1/LR) over members plus half the mean of log2(1 + LR) over
 * outliers. 0 for perfect LRs, 1 for LRs that are always 1, above 1 for LRs that mislead; infinite if one of them
 * excludes the truth.
 */
export function cllr(
  logs: ArrayLike<number>,
  isMember: ArrayLike<boolean>,
  counts?: ArrayLike<number>,
): number | null {
  const totals = sides("cllr", logs, isMember, counts);
  if (totals.members === 0 || totals.outliers === 0) return null;
  let ofMembers = 0, ofOutliers = 0;
  for (let i = 0; i < logs.length; i++) {
    const count = counts?.[i] ?? 1;
    if (count === 0) continue;
    if (isMember[i]) ofMembers += count * bitsOf(-logs[i]);
    else ofOutliers += count * bitsOf(logs[i]);
  }
  return (ofMembers / totals.members + ofOutliers / totals.outliers) / 2;
}

/**
 * The least Cllr that any rising map of these LRs has, 0 to 1: what they cannot tell apart. The rest of Cllr is loss of
 * calibration.
 */
export function minCllr(
  logs: ArrayLike<number>,
  isMember: ArrayLike<boolean>,
  counts?: ArrayLike<number>,
): number | null {
  const totals = sides("minCllr", logs, isMember, counts);
  if (totals.members === 0 || totals.outliers === 0) return null;
  const targets = new Float64Array(logs.length), weights = new Float64Array(logs.length);
  for (let i = 0; i < logs.length; i++) {
    targets[i] = isMember[i] ? 1 : 0;
    // Both sides weigh the same, as in Cllr.
    weights[i] = (counts?.[i] ?? 1) / (isMember[i] ? totals.members : totals.outliers);
  }
  let cost = 0;
  for (const { value, weight } of isotonicSteps(logs, targets, weights)) {
    if (value > 0) cost -= weight * value * Math.log2(value);
    if (value < 1) cost -= weight * (1 - value) * Math.log2(1 - value);
  }
  return cost / 2;
}

/** Shares of LRs on the wrong side; null without members or without outliers. */
export interface MisleadingShares {
  /** Members with LR < 1. */
  readonly membersBelow1: number | null;
  /** Members with LR < 0.1. */
  readonly membersBelow01: number | null;
  /** Outliers with LR > 1. */
  readonly outliersAbove1: number | null;
  /** Outliers with LR > 10. */
  readonly outliersAbove10: number | null;
}

/** The four shares of misleading LRs. */
export function misleadingShares(logs: ArrayLike<number>, isMember: ArrayLike<boolean>): MisleadingShares {
  sides("misleadingShares", logs, isMember);
  const share = (member: boolean, isWrong: (log: number) => boolean) => {
    const own = Array.from(logs).filter((_, i) => isMember[i] === member);
    return own.length === 0 ? null : own.filter(isWrong).length / own.length;
  };
  return {
    membersBelow1: share(true, (log) => log < 0),
    membersBelow01: share(true, (log) => log < -1),
    outliersAbove1: share(false, (log) => log > 0),
    outliersAbove10: share(false, (log) => log > 1),
  };
}

/** A Tippett curve: for every distinct log10 LR in rising order, the share of LRs that are at least as high. */
export interface TippettCurve {
  /** log10 of the LR. */
  readonly log10: readonly number[];
  /** Falls from 1. */
  readonly share: readonly number[];
}

/** The Tippett curve of the log10 LRs of one side. Empty without LRs. */
export function tippett(logs: ArrayLike<number>): TippettCurve {
  const sorted = Float64Array.from(logs).sort();
  const log10: number[] = [], share: number[] = [];
  sorted.forEach((log, i) => {
    if (i > 0 && sorted[i - 1] === log) return;
    log10.push(log);
    share.push((sorted.length - i) / sorted.length);
  });
  return { log10, share };
}

/** log2(1 + 10^log), without overflow. */
function bitsOf(log: number): number {
  const nats = log * Math.LN10;
  return (Math.max(nats, 0) + Math.log1p(Math.exp(-Math.abs(nats)))) / Math.LN2;
}

/** How many LRs of each side count. */
function sides(
  operation: string,
  logs: ArrayLike<number>,
  isMember: ArrayLike<boolean>,
  counts?: ArrayLike<number>,
): { members: number; outliers: number } {
  if (isMember.length !== logs.length || (counts !== undefined && counts.length !== logs.length)) {
    throw new RangeError(
      `${operation}: expected lists of one length, got ${logs.length} ratios of ${isMember.length} images` +
        (counts === undefined ? "" : ` with ${counts.length} counts`),
    );
  }
  const totals = { members: 0, outliers: 0 };
  for (let i = 0; i < logs.length; i++) totals[isMember[i] ? "members" : "outliers"] += counts?.[i] ?? 1;
  return totals;
}
