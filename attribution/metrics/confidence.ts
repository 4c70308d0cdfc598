/**
 * Whether confidences tell right verdicts from wrong ones: AUROC, risk and coverage, Brier score. A constant confidence
 * can have a small calibration error, but it fails all of these.
 *
 * All take confidences of 0 to 1 and whether each verdict is right, and optionally how often each verdict counts (whole
 * numbers, as a bootstrap sample draws them). They throw a RangeError if the lists differ in length. Without verdicts,
 * or where a rate has denominator 0, the result is null.
 */

/**
 * The probability that a right verdict has a higher confidence than a wrong one, where ties count half: 0.5 for a
 * constant, 1 if the confidence separates them. Null if all are right or all are wrong.
 */
export function auroc(
  confidence: ArrayLike<number>,
  right: ArrayLike<boolean>,
  counts?: ArrayLike<number>,
): number | null {
  let rightBefore = 0, pairs = 0, wrongAll = 0;
  for (const { count, rightCount } of tieGroups("auroc", confidence, right, counts)) {
    const wrong = count - rightCount;
    pairs += wrong * (rightBefore + rightCount / 2);
    rightBefore += rightCount;
    wrongAll += wrong;
  }
  return rightBefore === 0 || wrongAll === 0 ? null : pairs / (rightBefore * wrongAll);
}

/** The most confident verdicts, and how many of them are wrong. */
export interface RiskCoverage {
  /** Entry k - 1: the share of the k most confident verdicts among all, 1/n to 1. */
  readonly coverage: Float64Array;
  /** Share of wrong ones among them, 0 to 1. */
  readonly risk: Float64Array;
}

/**
 * The risk-coverage curve: risk of the k most confident verdicts for k of 1 to n. Verdicts of equal confidence are in
 * random order; the curve is the mean over all orders.
 *
 * Source: Geifman and El-Yaniv (2017), arXiv 1705.08500.
 */
export function riskCoverage(
  confidence: ArrayLike<number>,
  right: ArrayLike<boolean>,
  counts?: ArrayLike<number>,
): RiskCoverage {
  const groups = tieGroups("riskCoverage", confidence, right, counts);
  const n = groups.reduce((total, { count }) => total + count, 0);
  const coverage = new Float64Array(n), risk = new Float64Array(n);
  let covered = 0, wrong = 0;
  for (const { count, rightCount } of groups) {
    for (let k = 1; k <= count; k++) {
      coverage[covered + k - 1] = (covered + k) / n;
      risk[covered + k - 1] = (wrong + k * (count - rightCount) / count) / (covered + k);
    }
    covered += count;
    wrong += count - rightCount;
  }
  return { coverage, risk };
}

/**
 * Area under the risk-coverage curve: its mean risk, 0 to 1. A constant confidence gives the share of wrong verdicts.
 */
export function aurc(
  confidence: ArrayLike<number>,
  right: ArrayLike<boolean>,
  counts?: ArrayLike<number>,
): number | null {
  const { risk } = riskCoverage(confidence, right, counts);
  return risk.length === 0 ? null : risk.reduce((sum, value) => sum + value, 0) / risk.length;
}

/**
 * Share of right verdicts among the most confident ones: those that cover the given share (0 to 1) of all, at least
 * one. Verdicts of equal confidence are in random order; the result is the mean over all orders.
 */
export function accuracyAtCoverage(
  confidence: ArrayLike<number>,
  right: ArrayLike<boolean>,
  coverage: number,
  counts?: ArrayLike<number>,
): number | null {
  if (!(coverage >= 0 && coverage <= 1)) {
    throw new RangeError(`accuracyAtCoverage: expected a coverage of 0 to 1, got ${coverage}`);
  }
  const { risk } = riskCoverage(confidence, right, counts);
  // Subtracts what rounding adds: 0.7 x 10 is 7, although the product of the floating point numbers may exceed it.
  const covered = Math.max(1, Math.ceil(coverage * risk.length - 1e-9));
  return risk.length === 0 ? null : 1 - risk[covered - 1];
}

/**
 * Mean squared distance of the confidence from being right (1) or wrong (0), 0 to 1. With accuracy a, the best constant
 * scores a (1 - a).
 *
 * Source: Brier (1950).
 */
export function brier(
  confidence: ArrayLike<number>,
  right: ArrayLike<boolean>,
  counts?: ArrayLike<number>,
): number | null {
  requireEqualLengths("brier", confidence, right, counts);
  let sum = 0, total = 0;
  for (let i = 0; i < confidence.length; i++) {
    const count = counts?.[i] ?? 1;
    sum += count * (confidence[i] - (right[i] ? 1 : 0)) ** 2;
    total += count;
  }
  return total === 0 ? null : sum / total;
}

/** Counts of verdicts of equal confidence, the most confident first. Groups without verdicts are left out. */
function tieGroups(
  operation: string,
  confidence: ArrayLike<number>,
  right: ArrayLike<boolean>,
  counts?: ArrayLike<number>,
) {
  requireEqualLengths(operation, confidence, right, counts);
  const groups: { count: number; rightCount: number }[] = [];
  let last: number | undefined;
  const order = Array.from({ length: confidence.length }, (_, i) => i).sort((a, b) => confidence[b] - confidence[a]);
  for (const i of order) {
    const count = counts?.[i] ?? 1;
    if (count === 0) continue;
    if (confidence[i] !== last) groups.push({ count: 0, rightCount: 0 });
    last = confidence[i];
    const group = groups.at(-1)!;
    group.count += count;
    if (right[i]) group.rightCount += count;
  }
  return groups;
}

function requireEqualLengths(
  operation: string,
  confidence: ArrayLike<number>,
  right: ArrayLike<boolean>,
  counts?: ArrayLike<number>,
): void {
  if (confidence.length !== right.length || (counts !== undefined && counts.length !== right.length)) {
    throw new RangeError(
      `${operation}: expected a confidence per verdict, got ${confidence.length} for ${right.length} verdicts` +
        (counts === undefined ? "" : ` with ${counts.length} counts`),
    );
  }
}
