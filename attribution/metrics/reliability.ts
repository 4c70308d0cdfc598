/**
 * Whether confidences are rates of being right: the bins of a reliability diagram, and the expected calibration error.
 */

/** A bin of a reliability diagram. */
export interface ReliabilityBin {
  /** Mean confidence, 0 to 1. */
  readonly confidence: number;
  /** Share of right verdicts, 0 to 1. */
  readonly accuracy: number;
  /** Number of verdicts. */
  readonly count: number;
}

/** Verdicts by confidence (0 to 1) in bins of equal width. Empty bins are left out. */
export function reliabilityBins(confidence: readonly number[], right: readonly boolean[], bins = 10): ReliabilityBin[] {
  const groups = Map.groupBy(confidence.keys(), (i) => Math.min(bins - 1, Math.floor(confidence[i] * bins)));
  return [...groups].sort(([a], [b]) => a - b).map(([, members]) => ({
    confidence: members.reduce((sum, i) => sum + confidence[i], 0) / members.length,
    accuracy: members.filter((i) => right[i]).length / members.length,
    count: members.length,
  }));
}

/**
 * Verdicts by confidence (0 to 1), from the least on, in bins of as equal numbers as ties allow: verdicts of equal
 * confidence lie in one bin, the one where their middle lies. A constant confidence gives one bin. `counts` are whole
 * numbers: how often each verdict counts.
 */
export function equalMassBins(
  confidence: ArrayLike<number>,
  right: ArrayLike<boolean>,
  bins = 10,
  counts?: ArrayLike<number>,
): ReliabilityBin[] {
  const order = Array.from({ length: confidence.length }, (_, i) => i).sort((a, b) => confidence[a] - confidence[b]);
  const countOf = (i: number) => counts?.[i] ?? 1;
  const total = order.reduce((sum, i) => sum + countOf(i), 0);
  const sums: { count: number; confidence: number; right: number }[] = [];
  for (let start = 0, end = 0, before = 0; start < order.length; start = end) {
    const value = confidence[order[start]];
    let count = 0, rightCount = 0;
    for (; end < order.length && confidence[order[end]] === value; end++) {
      count += countOf(order[end]);
      if (right[order[end]]) rightCount += countOf(order[end]);
    }
    if (count === 0) continue;
    const bin = sums[Math.floor((before + count / 2) / total * bins)] ??= { count: 0, confidence: 0, right: 0 };
    before += count;
    bin.count += count;
    bin.confidence += count * value;
    bin.right += rightCount;
  }
  return sums.filter((bin) => bin !== undefined).map(({ count, confidence, right }) => ({
    ...{ confidence: confidence / count, accuracy: right / count },
    count,
  }));
}

/** Expected calibration error: the mean of |accuracy - confidence| over the bins, weighted by their verdicts. */
export function calibrationError(confidence: readonly number[], right: readonly boolean[], bins = 10): number {
  return meanGap(reliabilityBins(confidence, right, bins));
}

/**
 * Expected calibration error over bins of equal mass (equalMassBins): a constant confidence c gives |c - accuracy|.
 * Bins of equal width leave most verdicts in one bin, which hides errors.
 *
 * Source: Nixon et al. (2019), arXiv 1904.01685.
 */
export function equalMassCalibrationError(
  confidence: ArrayLike<number>,
  right: ArrayLike<boolean>,
  bins = 10,
  counts?: ArrayLike<number>,
): number {
  return meanGap(equalMassBins(confidence, right, bins, counts));
}

function meanGap(bins: readonly ReliabilityBin[]): number {
  const total = bins.reduce((sum, { count }) => sum + count, 0);
  return bins.reduce((sum, { confidence, accuracy, count }) => sum + Math.abs(accuracy - confidence) * count, 0) /
    total;
}
