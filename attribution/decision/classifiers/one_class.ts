/**
 * How far a row of numbers lies from those of a class: Mahalanobis distance with a shrunk correlation matrix, fitted to rows
 * of the class alone. It says how unusual a row is, not what else it may be, and knows no thresholds.
 *
 * The shrinkage is that of Schäfer and Strimmer (2005, "A shrinkage approach to large-scale covariance matrix estimation",
 * eq. 8 and target D): correlations shrink towards 0 by the share that minimises the expected squared error, estimated from
 * the data, so that nothing has to be chosen and few rows of many numbers still give a usable distance.
 */
import { cholesky, type Matrix, solveLower } from "./linear_algebra.ts";

export interface OneClass {
  /** Per column: mean and standard deviation of the class. */
  readonly mean: readonly number[];
  readonly deviation: readonly number[];
  /** Share by which correlations were shrunk, 0 to 1. */
  readonly shrinkage: number;
  /** Lower Cholesky factor of the shrunk correlation matrix; row i has i + 1 numbers. */
  readonly factor: Matrix;
}

/** Columns that hardly vary count as if they varied this much, relative to their size. */
const leastDeviation = 1e-6;
/** Keeps exactly dependent columns from making the matrix singular. */
const leastShrinkage = 0.005;

/** Fits to rows[n, columns] of one class, n at least 2. Throws on fewer, and on values that are not finite. */
export function fitOneClass(rows: Matrix): OneClass {
  const n = rows.length;
  if (n < 2) throw new Error(`fitOneClass: expected two rows or more, got ${n}`);
  const columns = rows[0].length;
  rows.forEach((row, i) => {
    const wrong = row.findIndex((value) => !Number.isFinite(value));
    if (wrong >= 0) throw new Error(`fitOneClass: expected finite numbers, got ${row[wrong]} in row ${i}`);
  });
  const mean = Array.from({ length: columns }, (_, j) => rows.reduce((sum, row) => sum + row[j], 0) / n);
  const deviation = mean.map((m, j) => {
    const variance = rows.reduce((sum, row) => sum + (row[j] - m) ** 2, 0) / (n - 1);
    return Math.max(Math.sqrt(variance), leastDeviation * Math.max(1, Math.abs(m)));
  });
  const z = rows.map((row) => row.map((value, j) => (value - mean[j]) / deviation[j]));
  const { correlations, shrinkage } = shrunkCorrelations(z);
  return { mean, deviation, shrinkage, factor: cholesky(correlations).map((row, i) => row.slice(0, i + 1)) };
}

/** z[n, columns] of mean 0 and variance 1. */
function shrunkCorrelations(z: Matrix): { correlations: number[][]; shrinkage: number } {
  const n = z.length, columns = z[0].length;
  const correlations = Array.from({ length: columns }, () => new Array<number>(columns).fill(1));
  let squares = 0, variances = 0;
  for (let i = 0; i < columns; i++) {
    for (let j = 0; j < i; j++) {
      const mean = z.reduce((sum, row) => sum + row[i] * row[j], 0) / n;
      const r = mean * n / (n - 1);
      correlations[i][j] = correlations[j][i] = r;
      squares += r * r;
      variances += n / (n - 1) ** 3 * z.reduce((sum, row) => sum + (row[i] * row[j] - mean) ** 2, 0);
    }
  }
  // Two or three rows are collinear however large the sample correlation is.
  const estimated = n < 4 ? 1 : squares > 0 ? variances / squares : 1;
  const shrinkage = Math.min(1, Math.max(leastShrinkage, estimated));
  for (let i = 0; i < columns; i++) {
    for (let j = 0; j < columns; j++) if (i !== j) correlations[i][j] *= 1 - shrinkage;
  }
  return { correlations, shrinkage };
}

/** Squared Mahalanobis distance per column: about 1 for a typical row of the class, larger for an unusual one. */
export function oneClassDistance(model: OneClass, row: readonly number[]): number {
  if (row.length !== model.mean.length) {
    throw new Error(`oneClassDistance: expected ${model.mean.length} numbers, got ${row.length}`);
  }
  const z = row.map((value, j) => (value - model.mean[j]) / model.deviation[j]);
  return solveLower(model.factor, z).reduce((sum, y) => sum + y * y, 0) / row.length;
}
