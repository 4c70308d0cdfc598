/**
 * How good likelihood ratios are: Cllr, its minimum, Tippett curves. A likelihood ratio (LR) says how much likelier the
 * evidence is if a model of the set made the image (a member) than if none did (an outlier). All functions take log10
 * of LRs, which may be infinite, and optionally how often each counts. Without members or without outliers, costs are
 * null.
 *
 * Sources: Brümmer and du Preez (2006), Ramos and Gonzalez-Rodriguez (2013).
 */
import { isotonicSteps } from "./isotonic.ts";

/** log10 of the LRs of members and of outliers. */
export interface LogRatios {
  /** Of images that a model of the set made. */
  readonly members: ArrayLike<number>;
  /** Of all other images. */
  readonly outliers: ArrayLike<number>;
}

/** How often each LR counts: whole numbers, as a bootstrap sample draws them. */
export interface RatioCounts {
  /** One per member. */
  readonly members: ArrayLike<number>;
  /** One per outlier. */
  readonly outliers: ArrayLike<number>;
}

/**
 * The cost of LRs in bits: half the mean of log2(1 + 1/LR) over members plus half the mean of log2(1 + LR) over
 * outliers. 0 for perfect LRs, 1 for LRs that are always 1, above 1 for LRs that mislead; infinite if one of them
 * excludes the truth.
 */
export function cllr({ members, outliers }: LogRatios, counts?: RatioCounts): number | null {
  const ofMembers = weightedMean(members, (log) => bitsOf(-log), counts?.members);
  const ofOutliers = weightedMean(outliers, bitsOf, counts?.outliers);
  return ofMembers === null || ofOutliers === null ? null : (ofMembers + ofOutliers) / 2;
}

/**
 * The least Cllr that any rising map of these LRs has, 0 to 1: what they cannot tell apart. The rest of Cllr is loss of
 * calibration.
 */
export function minCllr({ members, outliers }: LogRatios, counts?: RatioCounts): number | null {
  const sides = [[members, counts?.members, 1], [outliers, counts?.outliers, 0]] as const;
  const scores: number[] = [], targets: number[] = [], weights: number[] = [];
  for (const [logs, counted, target] of sides) {
    let total = 0;
    for (let i = 0; i < logs.length; i++) total += counted?.[i] ?? 1;
    if (total === 0) return null;
    for (let i = 0; i < logs.length; i++) {
      const count = counted?.[i] ?? 1;
      if (count === 0) continue;
      scores.push(logs[i]);
      targets.push(target);
      // Both sides weigh the same, as in Cllr.
      weights.push(count / total);
    }
  }
  let cost = 0;
  for (const { value, weight } of isotonicSteps(scores, targets, weights)) {
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
export function misleadingShares({ members, outliers }: LogRatios, counts?: RatioCounts): MisleadingShares {
  const below = (limit: number) => weightedMean(members, (log) => log < limit ? 1 : 0, counts?.members);
  const above = (limit: number) => weightedMean(outliers, (log) => log > limit ? 1 : 0, counts?.outliers);
  return { membersBelow1: below(0), membersBelow01: below(-1), outliersAbove1: above(0), outliersAbove10: above(1) };
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

function weightedMean(
  values: ArrayLike<number>,
  of: (value: number) => number,
  counts?: ArrayLike<number>,
): number | null {
  let sum = 0, total = 0;
  for (let i = 0; i < values.length; i++) {
    const count = counts?.[i] ?? 1;
    if (count === 0) continue;
    sum += count * of(values[i]);
    total += count;
  }
  return total === 0 ? null : sum / total;
}
