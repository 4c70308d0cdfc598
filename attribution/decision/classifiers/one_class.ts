/**
 * How far a row of numbers lies from the rows of one class: a Mahalanobis distance. It says how unusual a row is, not
 * what else it could be. calibration/fit_one_class.ts fits one.
 */
import { type Matrix, solveLower } from "./linear_algebra.ts";

export interface OneClass {
  /** Per column: mean and standard deviation of the class. */
  readonly mean: readonly number[];
  readonly deviation: readonly number[];
  /** Share by which correlations were shrunk, 0 to 1. */
  readonly shrinkage: number;
  /** Lower Cholesky factor of the shrunk correlation matrix; row i has i + 1 numbers. */
  readonly factor: Matrix;
}

/** Squared Mahalanobis distance per column: about 1 for a typical row of the class, larger for an unusual one. */
export function oneClassDistance(model: OneClass, row: readonly number[]): number {
  if (row.length !== model.mean.length) {
    throw new Error(`oneClassDistance: expected ${model.mean.length} numbers, got ${row.length}`);
  }
  const z = row.map((value, j) => (value - model.mean[j]) / model.deviation[j]);
  return solveLower(model.factor, z).reduce((sum, y) => sum + y * y, 0) / row.length;
}
