/**
 * Minimises a smooth function of up to a few thousand unknowns: limited-memory BFGS with a line search for the strong
 * Wolfe conditions, in float64. Deterministic.
 *
 * Source: Nocedal and Wright, Numerical Optimization (2nd ed.), algorithms 7.4, 7.5, 3.5 and 3.6.
 */

/** Writes the gradient at x into `gradient` and returns the value. */
export type Objective = (x: Float64Array, gradient: Float64Array) => number;

/** When to stop. */
export interface MinimizeOptions {
  /** Stops when no component of the gradient is larger. Default 1e-8. */
  readonly tolerance?: number;
  /** Stops after as many steps. Default 2000. */
  readonly maxIterations?: number;
}

/** Where minimising ended. */
export interface Minimum {
  /** The point. */
  readonly x: Float64Array;
  /** Of the function at x. */
  readonly value: number;
  /** Steps taken. */
  readonly iterations: number;
  /** Largest component of the gradient at x, by magnitude. */
  readonly gradientNorm: number;
  /** Whether the tolerance was reached. Also false where rounding allows no further descent. */
  readonly converged: boolean;
}

/** How many past steps approximate the Hessian. */
const memory = 20;

/** Minimises from `start`, which is not changed. */
export function minimize(objective: Objective, start: Float64Array, options: MinimizeOptions = {}): Minimum {
  const { tolerance = 1e-8, maxIterations = 2000 } = options;
  const n = start.length;
  let x = start.slice(), gradient = new Float64Array(n);
  let value = objective(x, gradient);
  const steps: Float64Array[] = [], changes: Float64Array[] = [];
  let iterations = 0;
  while (largest(gradient) > tolerance && iterations < maxIterations) {
    const direction = descent(gradient, steps, changes);
    const first = steps.length === 0 ? Math.min(1, 1 / norm(gradient)) : 1;
    const next = lineSearch(objective, { x, value, gradient }, direction, first);
    if (next === null) {
      if (steps.length === 0) break;
      steps.length = changes.length = 0; // try once more, along the gradient
      continue;
    }
    const step = difference(next.x, x), change = difference(next.gradient, gradient);
    ({ x, gradient, value } = next);
    iterations++;
    if (dot(step, change) > 1e-300) {
      steps.push(step);
      changes.push(change);
      if (steps.length > memory) {
        steps.shift();
        changes.shift();
      }
    }
  }
  const gradientNorm = largest(gradient);
  return { x, value, iterations, gradientNorm, converged: gradientNorm <= tolerance };
}

/** The descent direction: minus the inverse Hessian, approximated from the last steps, times the gradient. */
function descent(
  gradient: Float64Array,
  steps: readonly Float64Array[],
  changes: readonly Float64Array[],
): Float64Array {
  const q = gradient.slice(), alphas: number[] = [];
  for (let i = steps.length - 1; i >= 0; i--) {
    const alpha = dot(steps[i], q) / dot(steps[i], changes[i]);
    alphas[i] = alpha;
    addScaled(q, changes[i], -alpha);
  }
  const last = steps.length - 1;
  const scale = last < 0 ? 1 : dot(steps[last], changes[last]) / dot(changes[last], changes[last]);
  for (let i = 0; i < q.length; i++) q[i] *= scale;
  for (let i = 0; i < steps.length; i++) {
    addScaled(q, steps[i], alphas[i] - dot(changes[i], q) / dot(steps[i], changes[i]));
  }
  for (let i = 0; i < q.length; i++) q[i] = -q[i];
  return q;
}

/** Where the objective was evaluated. */
interface Point {
  readonly x: Float64Array;
  readonly gradient: Float64Array<ArrayBuffer>;
  readonly value: number;
}

/**
 * A point along the direction that fulfils the strong Wolfe conditions. `first` is the first step to try. Null where
 * rounding allows no descent.
 */
function lineSearch(
  objective: Objective,
  { x, value, gradient }: Point,
  direction: Float64Array,
  first: number,
): (Point & { x: Float64Array<ArrayBuffer> }) | null {
  const sufficient = 1e-4, curvature = 0.9;
  const slope = dot(gradient, direction);
  if (!(slope < 0)) return null;
  const at = (t: number) => {
    const moved = Float64Array.from(x, (value, i) => value + t * direction[i]);
    const gradient = new Float64Array(x.length);
    const value = objective(moved, gradient);
    return { t, x: moved, gradient, value, slope: dot(gradient, direction) };
  };
  type Trial = ReturnType<typeof at>;
  // Near the minimum, values differ by less than their rounding error. The slope still tells which way is down.
  const rounding = 1e-14 * Math.abs(value);
  const isHigh = (trial: Trial) => trial.value > value + sufficient * trial.t * slope + rounding;
  const zoom = (low: Trial, high: Trial): Trial | null => {
    for (let i = 0; i < 60; i++) {
      // The minimum of the parabola through value and slope at `low` and value at `high`, or the midpoint.
      const width = high.t - low.t;
      const bend = high.value - low.value - low.slope * width;
      let t = bend > 0 ? low.t - low.slope * width * width / (2 * bend) : NaN;
      const [left, right] = [Math.min(low.t, high.t), Math.max(low.t, high.t)];
      const margin = 0.1 * (right - left);
      if (!(t > left + margin && t < right - margin)) t = (left + right) / 2;
      const trial = at(t);
      if (isHigh(trial) || trial.value > low.value + rounding) high = trial;
      else {
        if (Math.abs(trial.slope) <= -curvature * slope) return trial;
        if (trial.slope * (high.t - low.t) >= 0) high = low;
        low = trial;
      }
      if (Math.abs(high.t - low.t) < 1e-16 * Math.max(1, Math.abs(low.t))) break;
    }
    return low.t > 0 && low.value <= value + rounding ? low : null;
  };
  let before: Trial = { t: 0, x: x.slice(), gradient: gradient.slice(), value, slope };
  let t = first;
  for (let i = 0; i < 40; i++) {
    const trial = at(t);
    if (!Number.isFinite(trial.value)) {
      t = (before.t + t) / 2;
      continue;
    }
    if (isHigh(trial) || (i > 0 && trial.value >= before.value + rounding)) return zoom(before, trial);
    if (Math.abs(trial.slope) <= -curvature * slope) return trial;
    if (trial.slope >= 0) return zoom(trial, before);
    before = trial;
    t *= 2;
  }
  return before.t > 0 ? before : null;
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

function addScaled(a: Float64Array, b: Float64Array, factor: number): void {
  for (let i = 0; i < a.length; i++) a[i] += factor * b[i];
}

function difference(a: Float64Array, b: Float64Array): Float64Array {
  return Float64Array.from(a, (value, i) => value - b[i]);
}

function norm(a: Float64Array): number {
  return Math.sqrt(dot(a, a));
}

function largest(a: Float64Array): number {
  let magnitude = 0;
  for (let i = 0; i < a.length; i++) magnitude = Math.max(magnitude, Math.abs(a[i]));
  return magnitude;
}
