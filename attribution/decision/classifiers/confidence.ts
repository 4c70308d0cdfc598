/**
 * Confidence as a rate of being right: log-odds of the raw confidence, stretched and moved (Platt 1999), fitted to verdicts
 * whose truth is known. It changes no label.
 */
/** logit p = offset + slope logit raw. */
export interface Stretch {
  readonly slope: number;
  readonly offset: number;
}

export const noStretch: Stretch = { slope: 1, offset: 0 };

/** Log-odds of a probability, which is clipped to 1e-9 from 0 and 1. */
export const logit = (p: number) => {
  const inside = Math.min(Math.max(p, 1e-9), 1 - 1e-9);
  return Math.log(inside / (1 - inside));
};

/** The confidence, 0 to 1. */
export function stretchConfidence({ slope, offset }: Stretch, raw: number): number {
  return 1 / (1 + Math.exp(-(offset + slope * logit(raw))));
}
