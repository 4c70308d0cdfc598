/**
 * One step of mmse.ts, the estimate of all codes of one scale, on latents and tables that are given.
 * Where the tables come from is in mmse_simulation.ts.
 */
import { broadcastTo, concat, linear, scope, softmax, sub, type Tensor } from "../../core/tensor/mod.ts";
import { type Covariance, solve } from "./covariance.ts";
import type { ScaleMaps } from "./scale_maps.ts";

/** Tables of one scale in one pass. */
export interface Step {
  readonly scale: number;
  readonly covariance: Covariance;
  /** Steps of conjugate gradients. */
  readonly solveSteps: number;
  /** From [y, m] to the log-probability of every code: packed [codes, 2 c], and [codes]. */
  readonly weight: Tensor;
  readonly bias: Tensor;
}

/** Code vectors under way, per scale [batch, n, c], what they leave of f, and the last solution of R z = rest. */
export interface State {
  readonly means: readonly Tensor[];
  readonly rest: Tensor;
  readonly solution: Tensor | undefined;
}

/** Every code vector at its mean, `start`[1, 1, c] of its scale. */
export function startState(maps: ScaleMaps, start: readonly Tensor[], f: Tensor): State {
  const batch = f.shape[0];
  return scope(() => {
    const means = maps.patchNums.map((pn, s) => broadcastTo(start[s], [batch, pn * pn, maps.channels]));
    let rest = sub(f, maps.offset);
    means.forEach((m, s) => rest = sub(rest, maps.forward(onGrid(maps, m, s), s)));
    return { means, rest, solution: undefined };
  });
}

/** [batch, n, c] -> [batch, pn, pn, c]. */
export function onGrid(maps: ScaleMaps, vectors: Tensor, scale: number): Tensor {
  const pn = maps.patchNums[scale];
  return vectors.reshape(-1, pn, pn, maps.channels);
}

/**
 * The posterior of a scale's codes, [batch, n, codes], its logarithm up to a constant, and the solution used for it. What is
 * `given`[batch, n, codes] is added to the logarithm.
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

/** The state with other code vectors at one scale. */
export function withMeans(maps: ScaleMaps, state: State, scale: number, means: Tensor): State {
  return scope(() => {
    const change = onGrid(maps, sub(state.means[scale], means), scale);
    const all = state.means.map((m, s) => (s === scale ? means : m));
    return { ...state, means: all, rest: maps.forward(change, scale, state.rest) };
  });
}
