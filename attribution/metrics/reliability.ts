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

/** Expected calibration error: the mean of |accuracy - confidence| over the bins, weighted by their verdicts. */
export function calibrationError(confidence: readonly number[], right: readonly boolean[], bins = 10): number {
  return reliabilityBins(confidence, right, bins)
    .reduce((sum, { confidence, accuracy, count }) => sum + Math.abs(accuracy - confidence) * count, 0) / right.length;
}
