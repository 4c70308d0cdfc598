/**
 * Applies a multinomial logistic regression: a row of numbers in, log-odds and probabilities of the classes out.
 * calibration/fit_logistic.ts fits one.
 */
import type { Matrix } from "./linear_algebra.ts";

/** A fitted model: the log-odds of class k are intercepts[k] + sum_j weights[k][j] (x_j - mean[j]) / deviation[j]. */
export interface Logistic {
  /** Of each column, over the rows that the model was fitted to. */
  readonly mean: readonly number[];
  /** Of each column, above 0. */
  readonly deviation: readonly number[];
  /** [classes][columns]. */
  readonly weights: Matrix;
  /** [classes], summing to 0. */
  readonly intercepts: readonly number[];
}

/** Log-odds of every class for a row[columns]. Throws when the row has another length. */
export function logOdds(model: Logistic, row: readonly number[]): number[] {
  if (row.length !== model.mean.length) {
    throw new RangeError(`logOdds: expected ${model.mean.length} numbers, got ${row.length}`);
  }
  const z = row.map((value, j) => (value - model.mean[j]) / model.deviation[j]);
  return model.weights.map((weights, k) =>
    weights.reduce((sum, weight, j) => sum + weight * z[j], model.intercepts[k])
  );
}

/** Probabilities from log-odds: exp(odds[k]) / sum_k exp(odds[k]). */
export function softmax(odds: readonly number[]): number[] {
  const largest = Math.max(...odds);
  const powers = odds.map((value) => Math.exp(value - largest));
  const sum = powers.reduce((total, power) => total + power, 0);
  return powers.map((power) => power / sum);
}

/** A logistic regression with calibrated probabilities. */
export interface Classifier {
  /** The regression. */
  readonly model: Logistic;
  /** The L2 penalty that the model was fitted with. */
  readonly l2: number;
  /** Log-odds are divided by it before the softmax, above 0. */
  readonly temperature: number;
}

/** Probabilities of the classes for a row[columns]. */
export function classify({ model, temperature }: Classifier, row: readonly number[]): number[] {
  return softmax(logOdds(model, row).map((value) => value / temperature));
}
