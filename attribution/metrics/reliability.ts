/**
 * Whether confidences are rates of being right: the bins of a reliability diagram, and the expected calibration error.
 */

/** A bin of a reliability diagram. */
export interface ReliabilityBin {
  readonly confidence: number;
  readonly accuracy: number;
  readonly count: number;
}

/** Bins of equal width over 0 to 1; empty ones are left out. */
export function reliabilityBins(confidence: readonly number[], right: readonly boolean[], bins = 10): ReliabilityBin[] {
  const groups = Map.groupBy(confidence.keys(), (i) => Math.min(bins - 1, Math.floor(confidence[i] * bins)));
  return [...groups].sort(([a], [b]) => a - b).map(([, members]) => ({
    confidence: members.reduce((sum, i) => sum + confidence[i], 0) / members.length,
    accuracy: members.filter((i) => right[i]).length / members.length,
    count: members.length,
  }));
}

/** Expected calibration error: mean |accuracy - confidence| of the bins, by their share of the verdicts. */
export function calibrationError(confidence: readonly number[], right: readonly boolean[], bins = 10): number {
  return reliabilityBins(confidence, right, bins)
    .reduce((sum, { confidence, accuracy, count }) => sum + Math.abs(accuracy - confidence) * count, 0) / right.length;
}
