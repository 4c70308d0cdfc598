/**
 * How far a row of numbers lies from the rows of one class: a Mahalanobis distance. It says how unusual a row is, not
 * what else it could be. calibration/fit_one_class.ts fits one.
 */
import { type Matrix, solveLower } from "./linear_algebra.ts";

/** A class of rows: where its columns lie, and how they vary together. */
export interface OneClass {
  /** Of each column. */
  readonly mean: readonly number[];
  /** Standard deviation of each column, above 0. */
  readonly deviation: readonly number[];
  /** Share by which correlations were shrunk towards 0, 0 to 1. */
  readonly shrinkage: number;
  /** Lower Cholesky factor of the shrunk correlation matrix. Row i has i + 1 numbers. */
  readonly factor: Matrix;
}

/**
 * Squared Mahalanobis distance of a row[columns], divided by the number of columns: about 1 for a typical row of the
 * class, larger for an unusual one. Throws when the row has another length.
 */
export function oneClassDistance(model: OneClass, row: readonly number[]): number {
  if (row.length !== model.mean.length) {
    throw new RangeError(`oneClassDistance: expected ${model.mean.length} numbers, got ${row.length}`);
  }
  const z = row.map((value, j) => (value - model.mean[j]) / model.deviation[j]);
  return solveLower(model.factor, z).reduce((sum, y) => sum + y * y, 0) / row.length;
}
