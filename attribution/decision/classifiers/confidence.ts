/**
 * Turns a method's raw confidence into a rate of being right: a linear map of its log-odds (Platt 1999). The label of a
 * verdict does not change. calibration/fit_confidence.ts fits the map.
 */
/** The map of log-odds: logit(confidence) = offset + slope x logit(raw). */
export interface Stretch {
  readonly slope: number;
  readonly offset: number;
}

/** Leaves confidences as they are. */
export const noStretch: Stretch = { slope: 1, offset: 0 };

/** Log-odds of a probability. It is clipped to [1e-9, 1 - 1e-9], so that the result is finite. */
export function logit(p: number): number {
  const clipped = Math.min(Math.max(p, 1e-9), 1 - 1e-9);
  return Math.log(clipped / (1 - clipped));
}

/** The calibrated confidence, 0 to 1, of a raw one, 0 to 1. */
export function stretchConfidence({ slope, offset }: Stretch, raw: number): number {
  return 1 / (1 + Math.exp(-(offset + slope * logit(raw))));
}
