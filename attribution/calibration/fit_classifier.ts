/**
 * A calibrated classifier from labelled rows: the penalty by stratified cross-validation, then a temperature on predictions of
 * models that did not see the row. It fits columns by place; which columns, and what their names are, is the caller's.
 *
 * Temperature: Guo et al., "On Calibration of Modern Neural Networks" (arXiv 1706.04599).
 */
import type { Matrix } from "../decision/classifiers/linear_algebra.ts";
import { type Classifier, type Logistic, logOdds } from "../decision/classifiers/logistic.ts";
import { fitLogistic } from "./fit_logistic.ts";

export interface ClassifierFit extends Classifier {
  /** Log-odds [n][classes] of every row by a model that was fitted without it, with the chosen penalty; not divided. */
  readonly crossFitted: Matrix;
  /** Mean loss in nats of those, by penalty. */
  readonly losses: readonly { readonly l2: number; readonly loss: number }[];
}

export interface ClassifierOptions {
  /** Penalties to choose from. */
  readonly penalties?: readonly number[];
  readonly folds?: number;
}

/** From no penalty to speak of to one that leaves nothing, in steps of a half decade. */
const defaultPenalties = [1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1, 3];

/** Fits to rows[n, columns] with classes y[n] in 0..classes - 1; every class needs two rows or more. */
export function fitClassifier(
  rows: Matrix,
  y: readonly number[],
  classes: number,
  { penalties = defaultPenalties, folds = 5 }: ClassifierOptions = {},
): ClassifierFit {
  const part = stratifiedFolds(y, folds);
  const odds = penalties.map(() => rows.map(() => [] as number[]));
  // From strong to weak: each fit starts where the one before ended.
  const order = penalties.map((l2, p) => ({ l2, p })).sort((a, b) => b.l2 - a.l2);
  for (let fold = 0; fold < folds; fold++) {
    const own = rows.map((_, i) => i).filter((i) => part[i] !== fold),
      held = rows.map((_, i) => i).filter((i) => part[i] === fold);
    if (held.length === 0) continue;
    let start: Logistic | undefined;
    for (const { l2, p } of order) {
      // Choosing needs less precision than what is kept.
      start = fitLogistic(own.map((i) => rows[i]), own.map((i) => y[i]), classes, { l2, start, tolerance: 1e-5 });
      for (const i of held) odds[p][i] = logOdds(start, rows[i]);
    }
  }
  const losses = penalties.map((l2, p) => {
    const temperature = fitTemperature(odds[p], y);
    return { l2, loss: meanLoss(odds[p], y, temperature) };
  });
  const best = losses.reduce((best, { loss }, p) => (loss < losses[best].loss ? p : best), 0);
  return {
    model: fitLogistic(rows, y, classes, { l2: penalties[best] }),
    l2: penalties[best],
    temperature: fitTemperature(odds[best], y),
    crossFitted: odds[best],
    losses,
  };
}

/** The fold of every row: those of a class come to the folds in turn, in their order. */
export function stratifiedFolds(y: readonly (number | string)[], folds: number): number[] {
  const seen = new Map<number | string, number>();
  return y.map((k) => {
    const n = seen.get(k) ?? 0;
    seen.set(k, n + 1);
    return n % folds;
  });
}

/** The temperature, 0.05 to 20, at which the mean loss of log-odds [n][classes] is least. */
export function fitTemperature(odds: Matrix, y: readonly number[]): number {
  // The loss is convex in 1 / temperature: golden section on the logarithm of it finds its only minimum.
  const ratio = (Math.sqrt(5) - 1) / 2;
  const loss = (logTemperature: number) => meanLoss(odds, y, Math.exp(logTemperature));
  let low = Math.log(0.05), high = Math.log(20);
  let a = high - ratio * (high - low), b = low + ratio * (high - low);
  let lossA = loss(a), lossB = loss(b);
  while (high - low > 1e-7) {
    if (lossA <= lossB) {
      [high, b, lossB] = [b, a, lossA];
      a = high - ratio * (high - low);
      lossA = loss(a);
    } else {
      [low, a, lossA] = [a, b, lossB];
      b = low + ratio * (high - low);
      lossB = loss(b);
    }
  }
  return Math.exp((low + high) / 2);
}

/** Mean of -log softmax(odds / temperature)[y]. */
export function meanLoss(odds: Matrix, y: readonly number[], temperature = 1): number {
  let sum = 0;
  odds.forEach((row, i) => {
    const largest = Math.max(...row);
    let norm = 0;
    for (const value of row) norm += Math.exp((value - largest) / temperature);
    sum += Math.log(norm) - (row[y[i]] - largest) / temperature;
  });
  return sum / odds.length;
}
