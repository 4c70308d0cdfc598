/**
 * Fits a Mahalanobis distance with a shrunk correlation matrix to rows of one class alone. No rows of other classes are
 * needed.
 *
 * Correlations shrink towards 0 by the share that minimises the expected squared error, estimated from the rows. So
 * nothing has to be chosen, and few rows of many columns still give a usable distance. Source: Schäfer and Strimmer
 * (2005), "A shrinkage approach to large-scale covariance matrix estimation", eq. 8 and target D.
 */
import { cholesky, type Matrix } from "../decision/classifiers/linear_algebra.ts";
import type { OneClass } from "../decision/classifiers/one_class.ts";
import { signalRow } from "../decision/family_distance.ts";
import type { Measurements } from "../evidence/evidence.ts";
import type { FamilyName } from "../../models/family.ts";
import { meanAndDeviation } from "../metrics/mod.ts";

/** The least standard deviation of a column, relative to its mean (or to 1 where the mean is smaller). */
const leastDeviation = 1e-6;
/** The least shrinkage. It keeps the matrix regular where columns are exactly dependent. */
const leastShrinkage = 0.005;

/** Fits to rows[n, columns] of one class. Throws on fewer than two rows, and on values that are not finite. */
export function fitOneClass(rows: Matrix): OneClass {
  const n = rows.length;
  if (n < 2) throw new RangeError(`fitOneClass: expected two rows or more, got ${n}`);
  rows.forEach((row, i) => {
    const wrong = row.findIndex((value) => !Number.isFinite(value));
    if (wrong >= 0) throw new RangeError(`fitOneClass: expected finite numbers, got ${row[wrong]} in row ${i}`);
  });
  const columns = rows[0].map((_, j) => meanAndDeviation(rows.map((row) => row[j])));
  const mean = columns.map(({ mean }) => mean);
  const deviation = columns.map(({ mean, deviation }) =>
    Math.max(deviation, leastDeviation * Math.max(1, Math.abs(mean)))
  );
  const z = rows.map((row) => row.map((value, j) => (value - mean[j]) / deviation[j]));
  const { correlations, shrinkage } = shrunkCorrelations(z);
  return { mean, deviation, shrinkage, factor: cholesky(correlations).map((row, i) => row.slice(0, i + 1)) };
}

/** The shrunk correlation matrix of z[n, columns], whose columns have mean 0 and variance 1. */
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
  // Two or three rows lie close to a line whatever their distribution: their correlations say nothing.
  const estimated = n < 4 ? 1 : squares > 0 ? variances / squares : 1;
  const shrinkage = Math.min(1, Math.max(leastShrinkage, estimated));
  for (let i = 0; i < columns; i++) {
    for (let j = 0; j < columns; j++) if (i !== j) correlations[i][j] *= 1 - shrinkage;
  }
  return { correlations, shrinkage };
}

/** Fits what the score `oneClass` is computed with to images of one family, at least two. */
export function fitFamilyDistance(images: readonly Measurements["families"][], family: FamilyName): OneClass {
  return fitOneClass(images.map((families) => signalRow(families, family)));
}
