/**
 * Fits a multinomial logistic regression with an L2 penalty to standardised columns, to convergence in float64.
 * fit_classifier.ts chooses the penalty and calibrates the probabilities.
 *
 * Minimises  sum_i w_i (-log softmax(W z_i + b)[y_i]) / sum_i w_i + l2 / 2 |W|^2  over W and b. z are the standardised
 * columns; the intercepts b are not penalised. Source: Hastie, Tibshirani and Friedman, The Elements of Statistical
 * Learning, 4.4.4, with the symmetric parameters of 18.3.2.
 */
import type { Matrix } from "../decision/classifiers/linear_algebra.ts";
import type { Logistic } from "../decision/classifiers/logistic.ts";
import { minimize, type Objective } from "./lbfgs.ts";

/** How a regression is fitted. */
export interface LogisticOptions {
  /** Penalty on the squared coefficients, above 0. */
  readonly l2: number;
  /** Weight of every row. Default: all classes have the same total weight, however many rows each has. */
  readonly rowWeights?: readonly number[];
  /** A model of the same shape to start from. It saves iterations; the minimum is unique. */
  readonly start?: Logistic;
  /** Stops when no component of the gradient is larger. Default 1e-8. */
  readonly tolerance?: number;
}

/**
 * Fits to rows[n, columns] with classes y[n] in 0..classes - 1. Throws when a class has no row, on values that are not
 * finite, and on a penalty that is not above 0.
 */
export function fitLogistic(rows: Matrix, y: readonly number[], classes: number, options: LogisticOptions): Logistic {
  const n = rows.length, columns = rows[0]?.length ?? 0;
  if (n === 0 || y.length !== n) {
    throw new RangeError(`fitLogistic: expected a class for each of ${n} rows, got ${y.length}`);
  }
  if (!(options.l2 > 0)) throw new RangeError(`fitLogistic: expected a penalty above 0, got ${options.l2}`);
  const counts = new Array<number>(classes).fill(0);
  for (const k of y) counts[k]++;
  const empty = counts.findIndex((count) => !(count > 0));
  if (empty >= 0 || counts.length !== classes) {
    throw new RangeError(`fitLogistic: expected rows of every class, got none of ${empty}`);
  }
  const { mean, deviation } = moments(rows);
  const z = standardised(rows, mean, deviation);
  const weights = options.rowWeights ?? y.map((k) => 1 / (classes * counts[k]));
  const start = new Float64Array(classes * (columns + 1));
  if (options.start !== undefined) pack(options.start, start, columns);
  const objective = logisticObjective(z, y, weights, { rows: n, columns, classes }, options.l2);
  const { x } = minimize(objective, start, { tolerance: options.tolerance ?? 1e-8 });
  const part = (k: number) => x.subarray(k * (columns + 1), (k + 1) * (columns + 1));
  const intercepts = Array.from({ length: classes }, (_, k) => part(k)[columns]);
  const middle = intercepts.reduce((a, b) => a + b) / classes;
  return {
    mean,
    deviation,
    weights: Array.from({ length: classes }, (_, k) => Array.from(part(k).subarray(0, columns))),
    intercepts: intercepts.map((value) => value - middle),
  };
}

/**
 * Mean and standard deviation (n in the denominator) of every column. The deviation of a constant column is 1, so that
 * the column has no effect.
 */
function moments(rows: Matrix): { mean: number[]; deviation: number[] } {
  const n = rows.length;
  rows.forEach((row, i) => {
    const wrong = row.findIndex((value) => !Number.isFinite(value));
    if (wrong >= 0) {
      throw new RangeError(`fitLogistic: expected finite numbers, got ${row[wrong]} in row ${i}, column ${wrong}`);
    }
  });
  const mean = rows[0].map((_, j) => rows.reduce((sum, row) => sum + row[j], 0) / n);
  const deviation = mean.map((m, j) => {
    const spread = Math.sqrt(rows.reduce((sum, row) => sum + (row[j] - m) ** 2, 0) / n);
    return spread > 1e-9 * Math.max(1e-3, Math.abs(m)) ? spread : 1;
  });
  return { mean, deviation };
}

function standardised(rows: Matrix, mean: readonly number[], deviation: readonly number[]): Float64Array {
  const columns = mean.length;
  const z = new Float64Array(rows.length * columns);
  rows.forEach((row, i) => row.forEach((value, j) => z[i * columns + j] = (value - mean[j]) / deviation[j]));
  return z;
}

/**
 * The function that is minimised over [classes][columns + 1] numbers: the weights of a class, then its intercept.
 * Exported for tests.
 */
export function logisticObjective(
  z: Float64Array,
  y: readonly number[],
  rowWeights: readonly number[],
  size: { readonly rows: number; readonly columns: number; readonly classes: number },
  l2: number,
): Objective {
  const { rows, columns, classes } = size;
  const total = rowWeights.reduce((a, b) => a + b, 0);
  const stride = columns + 1;
  const odds = new Float64Array(classes);
  return (x, gradient) => {
    gradient.fill(0);
    let value = 0;
    for (let i = 0; i < rows; i++) {
      const at = i * columns;
      let largest = -Infinity;
      for (let k = 0; k < classes; k++) {
        let sum = x[k * stride + columns];
        for (let j = 0; j < columns; j++) sum += x[k * stride + j] * z[at + j];
        odds[k] = sum;
        largest = Math.max(largest, sum);
      }
      let norm = 0;
      for (let k = 0; k < classes; k++) norm += Math.exp(odds[k] - largest);
      const logNorm = largest + Math.log(norm), weight = rowWeights[i] / total;
      value += weight * (logNorm - odds[y[i]]);
      for (let k = 0; k < classes; k++) {
        const pull = weight * (Math.exp(odds[k] - logNorm) - (k === y[i] ? 1 : 0));
        for (let j = 0; j < columns; j++) gradient[k * stride + j] += pull * z[at + j];
        gradient[k * stride + columns] += pull;
      }
    }
    for (let k = 0; k < classes; k++) {
      for (let j = 0; j < columns; j++) {
        const weight = x[k * stride + j];
        value += l2 / 2 * weight * weight;
        gradient[k * stride + j] += l2 * weight;
      }
    }
    return value;
  };
}

function pack(model: Logistic, into: Float64Array, columns: number): void {
  model.weights.forEach((row, k) => {
    into.set(row, k * (columns + 1));
    into[k * (columns + 1) + columns] = model.intercepts[k];
  });
}
