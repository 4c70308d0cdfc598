/**
 * A likelihood ratio between two hypotheses about an image, from numbers that were measured of it. Each number is taken
 * as a deviation from what is typical of the first hypothesis, compressed, and enters a logistic regression with its
 * square, so that both directions of misfit can count. calibration/fit_log_ratio.ts fits it.
 */
import { type Logistic, logOdds } from "./logistic.ts";

/** Means and standard deviations of numbers; deviations are above 0. */
export interface Scale {
  /** By number. */
  readonly mean: readonly number[];
  /** By number. */
  readonly deviation: readonly number[];
}

/** ln ratio = offset + slope x log-odds. */
export interface LineFit {
  /** Above 0. */
  readonly slope: number;
  readonly offset: number;
}

/** A fitted ratio. */
export interface LogRatio {
  /** What is typical of the first hypothesis. */
  readonly typical: Scale;
  /** Two classes, the second hypothesis and the first, over compressed deviations and their squares. */
  readonly regression: Logistic;
  /** From log-odds to ln ratio, for images of any history. */
  readonly calibration: LineFit;
  /** The same by kind of history (history.ts), for kinds with images enough: an image is compared with its like. */
  readonly kinds: Readonly<Record<string, LineFit>>;
  /** |ln ratio| stays below this: so few images as it was fitted to cannot show more. */
  readonly bound: number;
}

/** Columns of the regression for numbers: v = sign(u) ln(1 + |u|) of each deviation u, then the squares of v. */
export function ratioColumns({ mean, deviation }: Scale, numbers: readonly number[]): number[] {
  const compressed = numbers.map((value, j) => {
    const u = (value - mean[j]) / deviation[j];
    return Math.sign(u) * Math.log1p(Math.abs(u));
  });
  return [...compressed, ...compressed.map((v) => v * v)];
}

/** Log-odds of the first hypothesis, before calibration. */
export function ratioScore(
  { typical, regression }: Pick<LogRatio, "typical" | "regression">,
  numbers: readonly number[],
): number {
  const [second, first] = logOdds(regression, ratioColumns(typical, numbers));
  return first - second;
}

/** How far below the bound a ratio begins to be drawn in. */
const softness = 1;

/** `value` with a magnitude below `bound`, which large ones approach, so that they keep their order. */
function bounded(value: number, bound: number): number {
  const start = Math.max(0, bound - softness), beyond = Math.abs(value) - start;
  return beyond <= 0 ? value : Math.sign(value) * (start + (bound - start) * (1 - Math.exp(-beyond / (bound - start))));
}

/** ln of the likelihood ratio for a score of an image with this kind of history. */
export function calibratedRatio(
  { calibration, kinds, bound }: Pick<LogRatio, "calibration" | "kinds" | "bound">,
  score: number,
  kind: string,
): number {
  const { slope, offset } = kinds[kind] ?? calibration;
  return bounded(offset + slope * score, bound);
}
