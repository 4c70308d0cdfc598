/**
 * Turns a method's raw confidence into a rate of being right: a linear map of its log-odds (Platt 1999), one for
 * verdicts that name a variant and one for `outlier`. The label of a verdict does not change, and of two verdicts of
 * one kind the one with the higher raw confidence keeps it. calibration/fit_confidence.ts fits the maps.
 */
import { type Label, outlierLabel } from "../../labels.ts";

/** The map of log-odds: logit(confidence) = offset + slope x logit(raw). */
export interface Stretch {
  /** Above 0: the map keeps the order of confidences. */
  readonly slope: number;
  /** Log-odds of the confidence where those of the raw one are 0. */
  readonly offset: number;
}

/**
 * A map per kind of verdict. One map for both loses the order: raw confidences of the two kinds have different ranges,
 * and over all verdicts the higher ones may be wrong more often although within each kind they are wrong less often
 * (Simpson's paradox).
 */
export interface Stretches {
  /** Of verdicts that name a variant. */
  readonly variant: Stretch;
  /** Of verdicts `outlier`. */
  readonly outlier: Stretch;
}

/** The kind of a verdict. */
export function kindOf(label: Label): keyof Stretches {
  return label === outlierLabel ? "outlier" : "variant";
}

/** Leaves confidences as they are. */
export const noStretch: Stretch = { slope: 1, offset: 0 };

/** Log-odds of a probability. It is clipped to [1e-9, 1 - 1e-9], so that the result is finite. */
export function logit(p: number): number {
  const clipped = Math.min(Math.max(p, 1e-9), 1 - 1e-9);
  return Math.log(clipped / (1 - clipped));
}

/** The calibrated confidence, 0 to 1, of a raw one, 0 to 1. */
export function stretchConfidence({ slope, offset }: Stretch = noStretch, raw: number): number {
  return 1 / (1 + Math.exp(-(offset + slope * logit(raw))));
}
