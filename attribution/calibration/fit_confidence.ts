/**
 * Fits how raw confidences become rates of being right (Platt 1999), to verdicts whose truth is known.
 * decision/classifiers/confidence.ts applies what is fitted here.
 */
import { leastSlope, logit, noStretch, type Stretch, type Stretches } from "../decision/classifiers/confidence.ts";
import { type Finding, findings } from "../evidence/evidence.ts";
import { auroc } from "../metrics/mod.ts";
import { minimize } from "./lbfgs.ts";

/** A verdict whose truth is known. */
export interface JudgedVerdict {
  /** What the verdict says. */
  readonly finding: Finding;
  /** The raw confidence, 0 to 1. */
  readonly raw: number;
  /** Whether the label is the true one. */
  readonly isRight: boolean;
  /** How much the verdict counts, above 0. Default 1. */
  readonly weight?: number;
}

/** The fewest verdicts of a finding that get a map of their own. */
const fewestVerdicts = 10;

/** Fits a map per finding that has verdicts enough. */
export function fitStretches(verdicts: readonly JudgedVerdict[]): Stretches {
  const groups = findings.map((finding) => [finding, verdicts.filter((item) => item.finding === finding)] as const);
  return Object.fromEntries(
    groups.filter(([, { length }]) => length >= fewestVerdicts).map(([finding, some]) => [
      finding,
      fitStretch(
        some.map(({ raw }) => raw),
        some.map(({ isRight }) => isRight),
        some.map(({ weight = 1 }) => weight),
      ),
    ]),
  );
}

/** Confidences must order a right and a wrong verdict rightly with at least this probability. Chance is 0.5. */
const leastAuroc = 0.6;

/**
 * Why confidences carry no information; undefined where they do, or where too few verdicts are wrong to tell. A
 * constant is named as such: it may have a small calibration error and yet says the same of right and of wrong
 * verdicts.
 */
export function whyUninformative(confidences: readonly number[], right: readonly boolean[]): string | undefined {
  const low = confidences.reduce((a, b) => Math.min(a, b), Infinity);
  const high = confidences.reduce((a, b) => Math.max(a, b), -Infinity);
  if (confidences.length > 1 && high - low < 1e-3) {
    return `all ${confidences.length} confidences are ${high.toFixed(3)}: ` +
      "a constant cannot tell right verdicts from wrong ones";
  }
  const hits = right.filter(Boolean).length, misses = right.length - hits;
  if (hits === 0 || misses === 0) return undefined;
  const area = auroc(confidences, right)!;
  // The standard deviation of the area if confidences say nothing (Mann and Whitney, 1947).
  const deviation = Math.sqrt((hits + misses + 1) / (12 * hits * misses));
  if (area + 1.96 * deviation >= leastAuroc) return undefined;
  return `a right verdict has a higher confidence than a wrong one with a probability of ${area.toFixed(2)} ` +
    `(chance is 0.5, ${leastAuroc} is required)`;
}

/**
 * Fits the map to raw confidences, 0 to 1, and to whether each verdict was right. Minimises the log-loss against
 * Platt's targets, (hits + 1) / (hits + 2) and 1 / (misses + 2): with 1 and 0, a sample without errors would claim
 * certainty. A penalty on leaving slope 1 weighs as much as one verdict. `weights` say how much each verdict counts.
 * The slope is at least `leastSlope`, and the offset is the best one for it; without verdicts nothing changes.
 */
export function fitStretch(
  raw: readonly number[],
  right: readonly boolean[],
  weights: readonly number[] = right.map(() => 1),
): Stretch {
  if (right.length === 0) return noStretch;
  const sum = (side: boolean) => weights.reduce((total, weight, i) => total + (right[i] === side ? weight : 0), 0);
  const hits = sum(true), misses = sum(false);
  const high = (hits + 1) / (hits + 2), low = 1 / (misses + 2);
  const verdicts = raw.map((p, i) => ({ odds: logit(p), target: right[i] ? high : low, weight: weights[i] }));
  const fitted = minimiseLoss(verdicts);
  return fitted.slope >= leastSlope ? fitted : minimiseLoss(verdicts, leastSlope);
}

/** The map with the least log-loss, of all or of one slope. */
function minimiseLoss(
  verdicts: readonly { readonly odds: number; readonly target: number; readonly weight: number }[],
  fixed?: number,
): Stretch {
  const { x: [slope, offset] } = minimize((p, gradient) => {
    const slope = fixed ?? p[0];
    let value = (p[0] - 1) ** 2 / 2;
    gradient[0] = p[0] - 1;
    gradient[1] = 0;
    for (const { odds, target, weight } of verdicts) {
      const stretched = p[1] + slope * odds;
      value += weight * (Math.max(stretched, 0) - target * stretched + Math.log1p(Math.exp(-Math.abs(stretched))));
      const pull = weight * (1 / (1 + Math.exp(-stretched)) - target);
      if (fixed === undefined) gradient[0] += pull * odds;
      gradient[1] += pull;
    }
    return value;
  }, Float64Array.from([1, 0]));
  return { slope: fixed ?? slope, offset };
}
