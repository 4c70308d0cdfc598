/**
 * Fits a calibrated classifier to labelled rows. Stratified cross-validation chooses the L2 penalty. A temperature,
 * fitted to the predictions of models that did not see the row, calibrates the probabilities. fit_variants.ts chooses
 * the columns.
 *
 * Temperature: Guo et al., "On Calibration of Modern Neural Networks" (arXiv 1706.04599).
 */
import type { Matrix } from "../decision/classifiers/linear_algebra.ts";
import { type Classifier, type Logistic, logOdds } from "../decision/classifiers/logistic.ts";
import { fitLogistic } from "./fit_logistic.ts";

/** A classifier, and what cross-validation said about it. */
export interface ClassifierFit extends Classifier {
  /**
   * Log-odds [n][classes] of every row by a model that was fitted without it, with the chosen penalty, before the
   * division by the temperature.
   */
  readonly crossFitted: Matrix;
  /** Cross-validated mean loss in nats by penalty, each at its best temperature. */
  readonly losses: readonly { readonly l2: number; readonly loss: number }[];
}

/** How a classifier is chosen. */
export interface ClassifierOptions {
  /** Penalties to choose from, above 0. Default: 1e-4 to 3 in ten steps. */
  readonly penalties?: readonly number[];
  /** Folds of the cross-validation. Default 5. */
  readonly folds?: number;
  /** By row, what it belongs to: rows of one group are in one fold. Default: every row is a group. */
  readonly groups?: readonly string[];
}

/** In half decades from practically none to one that leaves only the intercepts. */
const defaultPenalties = [1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1, 3];

/** Fits to rows[n, columns] with classes y[n] in 0..classes - 1. Every class needs two rows or more. Deterministic. */
export function fitClassifier(
  rows: Matrix,
  y: readonly number[],
  classes: number,
  { penalties = defaultPenalties, folds = 5, groups }: ClassifierOptions = {},
): ClassifierFit {
  const part = stratifiedFolds(y, folds, groups);
  const odds = penalties.map(() => rows.map(() => [] as number[]));
  // From the strongest penalty to the weakest, so that each fit starts at the minimum of the one before.
  const order = penalties.map((l2, p) => ({ l2, p })).sort((a, b) => b.l2 - a.l2);
  for (let fold = 0; fold < folds; fold++) {
    const kept = rows.map((_, i) => i).filter((i) => part[i] !== fold);
    const held = rows.map((_, i) => i).filter((i) => part[i] === fold);
    if (held.length === 0) continue;
    let start: Logistic | undefined;
    for (const { l2, p } of order) {
      // Choosing a penalty needs less precision than the final model.
      start = fitLogistic(kept.map((i) => rows[i]), kept.map((i) => y[i]), classes, { l2, start, tolerance: 1e-5 });
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

/**
 * The fold of every row, 0..folds - 1. The groups of one class are dealt to the folds in turn; without `groups`, every
 * row is one.
 */
export function stratifiedFolds(y: readonly (number | string)[], folds: number, groups?: readonly string[]): number[] {
  const seen = new Map<number | string, number>(), foldOf = new Map<string, number>();
  return y.map((k, i) => {
    const known = groups && foldOf.get(groups[i]);
    if (known !== undefined) return known;
    const n = seen.get(k) ?? 0;
    seen.set(k, n + 1);
    if (groups !== undefined) foldOf.set(groups[i], n % folds);
    return n % folds;
  });
}

/** The temperature, 0.05 to 20, that minimises the mean loss of log-odds [n][classes] with classes y[n]. */
export function fitTemperature(odds: Matrix, y: readonly number[]): number {
  // The loss is convex in 1 / temperature, so it has one minimum. Golden-section search over ln temperature finds it.
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

/** Mean over the rows of -log softmax(odds / temperature)[y], in nats. */
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
