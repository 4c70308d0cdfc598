/** Isotonic regression by pooling adjacent violators (PAV). */

/** A step of a rising function: the value that it takes at scores from `low` to `high`. */
export interface IsotonicStep {
  /** Least score of the step. */
  readonly low: number;
  /** Largest score of the step. */
  readonly high: number;
  /** Weighted mean of the step's targets. */
  readonly value: number;
  /** Sum of the step's weights. */
  readonly weight: number;
}

/**
 * The function of the score that never falls and has the least weighted squared distance from the targets, as steps of
 * rising scores and strictly rising values. Targets of equal scores are pooled first. Weights are positive, 1 if
 * absent. Throws a RangeError if the lists differ in length, and on a score or target that is no number.
 *
 * Source: Ayer, Brunk, Ewing, Reid and Silverman (1955).
 */
export function isotonicSteps(
  scores: ArrayLike<number>,
  targets: ArrayLike<number>,
  weights?: ArrayLike<number>,
): IsotonicStep[] {
  requireLists(scores, targets, weights);
  const order = risingOrder(scores);
  const steps: { low: number; high: number; value: number; weight: number }[] = [];
  for (let at = 0; at < order.length;) {
    const score = scores[order[at]];
    // Of equal values the mean is the value itself, which rounding must not change; so the first one is the origin.
    const origin = targets[order[at]];
    let weight = 0, excess = 0;
    for (; at < order.length && scores[order[at]] === score; at++) {
      const own = weights?.[order[at]] ?? 1;
      weight += own;
      excess += own * (targets[order[at]] - origin);
    }
    if (weight > 0) addStep(steps, { low: score, high: score, value: origin + excess / weight, weight });
  }
  return steps;
}

/** Appends a step, pooled with those before it whose values are not below its own. */
function addStep(
  steps: { low: number; high: number; value: number; weight: number }[],
  step: IsotonicStep,
): void {
  let { low, value, weight } = step;
  for (let last = steps.at(-1); last !== undefined && last.value >= value; last = steps.at(-1)) {
    value = last.value === value ? value : (last.value * last.weight + value * weight) / (last.weight + weight);
    weight += last.weight;
    low = last.low;
    steps.pop();
  }
  steps.push({ low, high: step.high, value, weight });
}

function risingOrder(scores: ArrayLike<number>): number[] {
  return Array.from({ length: scores.length }, (_, i) => i).sort((a, b) => scores[a] - scores[b]);
}

/**
 * The values of isotonicSteps() at the given scores, in their order. Between and beyond the steps, where all weights
 * are 0, that of the step above, of the highest above all.
 */
export function pav(
  scores: ArrayLike<number>,
  targets: ArrayLike<number>,
  weights?: ArrayLike<number>,
): Float64Array {
  const steps = isotonicSteps(scores, targets, weights);
  const fitted = new Float64Array(scores.length);
  let at = 0;
  for (const i of risingOrder(scores)) {
    while (scores[i] > steps[at].high && at < steps.length - 1) at++;
    fitted[i] = steps[at].value;
  }
  return fitted;
}

function requireLists(scores: ArrayLike<number>, targets: ArrayLike<number>, weights?: ArrayLike<number>): void {
  if (targets.length !== scores.length || (weights !== undefined && weights.length !== scores.length)) {
    throw new RangeError(
      `isotonicSteps: expected lists of one length, got ${scores.length} scores, ${targets.length} targets` +
        (weights === undefined ? "" : ` and ${weights.length} weights`),
    );
  }
  for (let i = 0; i < scores.length; i++) {
    if (Number.isNaN(scores[i]) || Number.isNaN(targets[i])) {
      throw new RangeError(`isotonicSteps: expected numbers, got ${scores[i]} with target ${targets[i]}`);
    }
    if (weights !== undefined && !(weights[i] >= 0)) {
      throw new RangeError(`isotonicSteps: expected weights of at least 0, got ${weights[i]}`);
    }
  }
}
