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

/** A fitted ratio. */
export interface LogRatio {
  /** What is typical of the first hypothesis. */
  readonly typical: Scale;
  /** Two classes, the second hypothesis and the first, over compressed deviations and their squares. */
  readonly regression: Logistic;
  /** ln ratio = offset + slope x log-odds. Above 0. */
  readonly slope: number;
  /** As `slope`. */
  readonly offset: number;
  /** |ln ratio| is at most this: so few images as it was fitted to cannot show more. */
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

/** ln of the likelihood ratio for a score. */
export function calibratedRatio(
  { slope, offset, bound }: Omit<LogRatio, "typical" | "regression">,
  score: number,
): number {
  return Math.min(Math.max(offset + slope * score, -bound), bound);
}
