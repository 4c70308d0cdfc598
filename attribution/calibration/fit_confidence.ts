/**
 * Fits how raw confidences become rates of being right (Platt 1999), to verdicts whose truth is known.
 * decision/classifiers/confidence.ts applies what is fitted here.
 */
import { kindOf, logit, noStretch, type Stretch, type Stretches } from "../decision/classifiers/confidence.ts";
import type { Label } from "../labels.ts";
import { minimize } from "./lbfgs.ts";

/** A verdict whose truth is known. */
export interface JudgedVerdict {
  /** The label that the verdict names. */
  readonly label: Label;
  /** The raw confidence, 0 to 1. */
  readonly raw: number;
  /** Whether it is the true label. */
  readonly isRight: boolean;
}

/** Fits a map per kind of verdict. */
export function fitStretches(verdicts: readonly JudgedVerdict[]): Stretches {
  const fit = (kind: keyof Stretches) => {
    const some = verdicts.filter(({ label }) => kindOf(label) === kind);
    return fitStretch(some.map(({ raw }) => raw), some.map(({ isRight }) => isRight));
  };
  return { variant: fit("variant"), outlier: fit("outlier") };
}

/** A slope below it would say that raw confidences tell next to nothing, which few errors cannot show. */
export const leastSlope = 0.25;

/**
 * Fits the map to raw confidences, 0 to 1, and to whether each verdict was right. Minimises the log-loss against
 * Platt's targets, (hits + 1) / (hits + 2) and 1 / (misses + 2): with 1 and 0, a sample without errors would claim
 * certainty. A penalty on leaving slope 1 weighs as much as one verdict. The slope is at least `leastSlope`, and the
 * offset is the best one for it; without verdicts nothing changes.
 */
export function fitStretch(raw: readonly number[], right: readonly boolean[]): Stretch {
  const hits = right.filter(Boolean).length, misses = right.length - hits;
  if (right.length === 0) return noStretch;
  const high = (hits + 1) / (hits + 2), low = 1 / (misses + 2);
  const verdicts = raw.map((p, i) => ({ odds: logit(p), target: right[i] ? high : low }));
  const fitted = minimiseLoss(verdicts);
  return fitted.slope >= leastSlope ? fitted : minimiseLoss(verdicts, leastSlope);
}

/** The map with the least log-loss, of all or of one slope. */
function minimiseLoss(
  verdicts: readonly { readonly odds: number; readonly target: number }[],
  fixed?: number,
): Stretch {
  const { x: [slope, offset] } = minimize((p, gradient) => {
    const slope = fixed ?? p[0];
    let value = (p[0] - 1) ** 2 / 2;
    gradient[0] = p[0] - 1;
    gradient[1] = 0;
    for (const { odds, target } of verdicts) {
      const stretched = p[1] + slope * odds;
      value += Math.max(stretched, 0) - target * stretched + Math.log1p(Math.exp(-Math.abs(stretched)));
      const pull = 1 / (1 + Math.exp(-stretched)) - target;
      if (fixed === undefined) gradient[0] += pull * odds;
      gradient[1] += pull;
    }
    return value;
  }, Float64Array.from([1, 0]));
  return { slope: fixed ?? slope, offset };
}
