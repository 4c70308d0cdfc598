/**
 * Confidence as a rate of being right: log-odds of the raw confidence, stretched and moved (Platt 1999), fitted to verdicts
 * whose truth is known. It changes no label.
 */
import { minimize } from "./lbfgs.ts";

/** logit p = offset + slope logit raw. */
export interface Stretch {
  readonly slope: number;
  readonly offset: number;
}

export const noStretch: Stretch = { slope: 1, offset: 0 };

const logit = (p: number) => {
  const inside = Math.min(Math.max(p, 1e-9), 1 - 1e-9);
  return Math.log(inside / (1 - inside));
};

/** The confidence, 0 to 1. */
export function stretchConfidence({ slope, offset }: Stretch, raw: number): number {
  return 1 / (1 + Math.exp(-(offset + slope * logit(raw))));
}

/**
 * Fits to raw confidences and whether each verdict was right, by least loss with Platt's targets, which leave room for errors
 * that did not happen to occur, and a penalty on leaving slope 1, worth one verdict. The slope is at least 0.
 */
export function fitStretch(raw: readonly number[], right: readonly boolean[]): Stretch {
  const hits = right.filter((each) => each).length, misses = right.length - hits;
  if (right.length === 0) return noStretch;
  const high = (hits + 1) / (hits + 2), low = 1 / (misses + 2);
  const x = raw.map(logit);
  const { x: found } = minimize((p, gradient) => {
    let value = (p[0] - 1) ** 2 / 2;
    gradient[0] = p[0] - 1;
    gradient[1] = 0;
    x.forEach((own, i) => {
      const odds = p[1] + p[0] * own, target = right[i] ? high : low;
      value += Math.max(odds, 0) - target * odds + Math.log1p(Math.exp(-Math.abs(odds)));
      const pull = 1 / (1 + Math.exp(-odds)) - target;
      gradient[0] += pull * own;
      gradient[1] += pull;
    });
    return value;
  }, Float64Array.from([1, 0]));
  return { slope: Math.max(0, found[0]), offset: found[1] };
}

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
