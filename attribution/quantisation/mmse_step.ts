/** One step of mmse.ts: estimates the codes of one scale. mmse_simulation.ts makes its tables. */
import { broadcastTo, concat, linear, scope, softmax, sub, type Tensor } from "../../core/tensor/mod.ts";
import { type Covariance, solve } from "./covariance.ts";
import type { ScaleMaps } from "./scale_maps.ts";

/** Tables of one scale in one pass. */
export interface Step {
  /** Index of the scale. */
  readonly scale: number;
  /** R at this step. */
  readonly covariance: Covariance;
  /** Steps of conjugate gradients. */
  readonly solveSteps: number;
  /** Linear map from [y, m] to the log-probability of every code, packed [codes, 2 c]. */
  readonly weight: Tensor;
  /** Its bias, [codes]. */
  readonly bias: Tensor;
}

/** The current estimates. */
export interface State {
  /** Mean code vectors by scale, [batch, n, c]. */
  readonly means: readonly Tensor[];
  /** f minus the fHat of the means, [batch, side, side, c]. */
  readonly rest: Tensor;
  /** The last solution of R z = rest. */
  readonly solution: Tensor | undefined;
}

/** The first state: every code vector is the mean of its scale's codes, `start` [1, 1, c] by scale. */
export function startState(maps: ScaleMaps, start: readonly Tensor[], f: Tensor): State {
  const batch = f.shape[0];
  return scope(() => {
    const means = maps.patchNums.map((pn, s) => broadcastTo(start[s], [batch, pn * pn, maps.channels]));
    let rest = sub(f, maps.offset);
    means.forEach((m, s) => rest = sub(rest, maps.forward(onGrid(maps, m, s), s)));
    return { means, rest, solution: undefined };
  });
}

/** Code vectors of a scale on their grid: [batch, n, c] -> [batch, pn, pn, c]. */
export function onGrid(maps: ScaleMaps, vectors: Tensor, scale: number): Tensor {
  const pn = maps.patchNums[scale];
  return vectors.reshape(-1, pn, pn, maps.channels);
}

/**
 * The posterior of a scale's codes: probabilities and logits, [batch, n, codes], and the solution of R z = rest that
 * they come from. `given`[batch, n, codes] is added to the logits.
 */
export function posterior(
  maps: ScaleMaps,
  { means, rest, solution: last }: State,
  { scale, covariance, solveSteps, weight, bias }: Step,
  given?: Tensor,
): { logits: Tensor; probabilities: Tensor; solution: Tensor } {
  return scope(() => {
    const solution = solve(maps, covariance, rest, solveSteps, last);
    const y = maps.adjoint(solution, scale).reshape(...means[scale].shape);
    const logits = linear(concat([y, means[scale]], 2), weight, bias, { residual: given });
    return { logits, probabilities: softmax(logits), solution };
  });
}

/** The state with new mean code vectors [batch, n, c] at one scale. */
export function withMeans(maps: ScaleMaps, state: State, scale: number, means: Tensor): State {
  return scope(() => {
    const change = onGrid(maps, sub(state.means[scale], means), scale);
    const all = state.means.map((m, s) => (s === scale ? means : m));
    return { ...state, means: all, rest: maps.forward(change, scale, state.rest) };
  });
}
