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
  const steps: IsotonicStep[] = [];
  for (let step of pooledTies(scores, targets, weights)) {
    for (let last = steps.at(-1); last !== undefined && last.value >= step.value; last = steps.at(-1)) {
      step = pool(last, step);
      steps.pop();
    }
    steps.push(step);
  }
  return steps;
}

/** A step per distinct score, in rising order. */
function pooledTies(
  scores: ArrayLike<number>,
  targets: ArrayLike<number>,
  weights?: ArrayLike<number>,
): IsotonicStep[] {
  const steps: IsotonicStep[] = [];
  for (const i of risingOrder(scores)) {
    const step = { low: scores[i], high: scores[i], value: targets[i], weight: weights?.[i] ?? 1 };
    const last = steps.at(-1);
    if (last?.high === step.low) steps[steps.length - 1] = pool(last, step);
    else steps.push(step);
  }
  return steps;
}

function pool(first: IsotonicStep, second: IsotonicStep): IsotonicStep {
  const weight = first.weight + second.weight;
  // Of equal values the mean is the value itself, which rounding must not change.
  const value = first.value === second.value
    ? first.value
    : (first.value * first.weight + second.value * second.weight) / weight;
  return { low: first.low, high: second.high, value, weight };
}

function risingOrder(scores: ArrayLike<number>): Uint32Array {
  return Uint32Array.from({ length: scores.length }, (_, i) => i).sort((a, b) => scores[a] - scores[b]);
}

/** The values of isotonicSteps() at the given scores, in their order. */
export function pav(
  scores: ArrayLike<number>,
  targets: ArrayLike<number>,
  weights?: ArrayLike<number>,
): Float64Array {
  const steps = isotonicSteps(scores, targets, weights);
  const fitted = new Float64Array(scores.length);
  let at = 0;
  for (const i of risingOrder(scores)) {
    while (scores[i] > steps[at].high) at++;
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
    if (weights !== undefined && !(weights[i] > 0)) {
      throw new RangeError(`isotonicSteps: expected positive weights, got ${weights[i]}`);
    }
  }
}
