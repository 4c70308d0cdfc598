/**
 * Turns a method's raw confidence into a rate of being right: a linear map of its log-odds (Platt 1999) per finding.
 * The label of a verdict does not change, and of two verdicts of one finding the one with the higher raw confidence
 * keeps it. calibration/fit_confidence.ts fits the maps.
 */
import type { Finding } from "../../evidence/evidence.ts";

/** The map of log-odds: logit(confidence) = offset + slope x logit(raw). */
export interface Stretch {
  /** At least `leastSlope`: the map keeps the order of confidences. */
  readonly slope: number;
  /** Log-odds of the confidence where those of the raw one are 0. */
  readonly offset: number;
}

/** A slope below it would make confidences nearly constant, whatever their calibration error. */
export const leastSlope = 0.25;

/**
 * A map per finding. One map for all loses the order: raw confidences of different findings have different ranges, and
 * over all verdicts the higher ones may be wrong more often although within each finding they are wrong less often
 * (Simpson's paradox). Findings without a map have that of the finding that is most like them.
 */
export type Stretches = Readonly<Partial<Record<Finding, Stretch>>>;

/** Leaves confidences as they are. */
export const noStretch: Stretch = { slope: 1, offset: 0 };

/** The finding whose map stands in where a finding has none. */
const nearest: Readonly<Record<Finding, Finding>> = {
  variant: "family",
  family: "variant",
  none: "inconclusive",
  inconclusive: "none",
  unsuitable: "unsuitable",
};

/** The map for verdicts of a finding. */
export function stretchOf(stretches: Stretches | undefined, finding: Finding): Stretch {
  return stretches?.[finding] ?? stretches?.[nearest[finding]] ?? noStretch;
}

/** Log-odds of a probability. It is clipped to [1e-9, 1 - 1e-9], so that the result is finite. */
export function logit(p: number): number {
  const clipped = Math.min(Math.max(p, 1e-9), 1 - 1e-9);
  return Math.log(clipped / (1 - clipped));
}

/** The calibrated confidence, 0 to 1, of a raw one, 0 to 1. */
export function stretchConfidence({ slope, offset }: Stretch = noStretch, raw: number): number {
  return 1 / (1 + Math.exp(-(offset + slope * logit(raw))));
}
