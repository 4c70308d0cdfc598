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
  return [...groups].sort(([a], [b]) => a - b).map(([, members]) => binOf(members, confidence, right));
}

/**
 * Verdicts by confidence (0 to 1), from the least on, in bins of as equal numbers as ties allow: verdicts of equal
 * confidence lie in one bin, the one where their middle lies. A constant confidence gives one bin.
 */
export function equalMassBins(confidence: readonly number[], right: readonly boolean[], bins = 10): ReliabilityBin[] {
  const order = [...confidence.keys()].sort((a, b) => confidence[a] - confidence[b]);
  const groups = new Map<number, number[]>();
  for (let start = 0, end = 0; start < order.length; start = end) {
    while (end < order.length && confidence[order[end]] === confidence[order[start]]) end++;
    const bin = Math.floor((start + end) / 2 / order.length * bins);
    const members = groups.get(bin);
    if (members === undefined) groups.set(bin, order.slice(start, end));
    else for (let i = start; i < end; i++) members.push(order[i]);
  }
  return [...groups.values()].map((members) => binOf(members, confidence, right));
}

/** Expected calibration error: the mean of |accuracy - confidence| over the bins, weighted by their verdicts. */
export function calibrationError(confidence: readonly number[], right: readonly boolean[], bins = 10): number {
  return meanGap(reliabilityBins(confidence, right, bins), right.length);
}

/**
 * Expected calibration error over bins of equal mass (equalMassBins): a constant confidence c gives |c - accuracy|. Bins
 * of equal width leave most verdicts in one bin, which hides errors.
 *
 * Source: Nixon et al. (2019), arXiv 1904.01685.
 */
export function equalMassCalibrationError(
  confidence: readonly number[],
  right: readonly boolean[],
  bins = 10,
): number {
  return meanGap(equalMassBins(confidence, right, bins), right.length);
}

function binOf(
  members: readonly number[],
  confidence: readonly number[],
  right: readonly boolean[],
): ReliabilityBin {
  return {
    confidence: members.reduce((sum, i) => sum + confidence[i], 0) / members.length,
    accuracy: members.filter((i) => right[i]).length / members.length,
    count: members.length,
  };
}

function meanGap(bins: readonly ReliabilityBin[], total: number): number {
  return bins.reduce((sum, { confidence, accuracy, count }) => sum + Math.abs(accuracy - confidence) * count, 0) /
    total;
}
