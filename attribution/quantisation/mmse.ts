/**
 * Optimised quantisation by estimating all code vectors at once: every token's likelihood is taken after a linear filter
 * that suppresses what other tokens may still be (soft interference cancellation with minimum mean squared error), and
 * its posterior mean replaces it in what the next scale sees. It recovers more true tokens than sweeps over single tokens,
 * which follow the noise as soon as a coarse token is wrong.
 *
 * For one scale: R is the covariance of f - fHat (covariance.ts), y = A_s' R^-1 (f - A m), M the mean of A_s' R^-1 A_s over
 * the scale's tokens, U the covariance of a code. Without the token's own share the precision is P = (M^-1 - U)^-1 and the
 * evidence h = (I + P U) y + P m; a code e has the log-likelihood h'e - e'Pe / 2, and the scale's log-prior. U and M depend on the number of the step
 * only: they come from a simulation with tokens drawn from the prior. So per image there are products with tables alone.
 *
 * Sources: Wang & Poor 1999 (iterative soft interference cancellation), Ma & Ping 2017 (orthogonal AMP), Rush, Greig &
 * Venkataramanan 2017 (decoding of sparse superposition codes, which multi-scale residual codes are).
 */
import { argmax, concat, linear, scope, type Tensor } from "../../core/tensor/mod.ts";
import type { ImageTokenizer } from "../../models/family.ts";
import { simulate } from "./mmse_simulation.ts";
import { posterior, startState, type Step, withMeans } from "./mmse_step.ts";
import type { ScaleMaps } from "./scale_maps.ts";

export interface MmseSettings {
  /** Passes over all scales, coarse to fine. */
  readonly passes: number;
  /**
   * Assumed variance of f around the fHat of the true tokens, per value: what the encoder gets wrong. It is given as a
   * multiple of the greedy quantiser's error on latents of random tokens. Not used where the family's LatentStatistics
   * say what the encoder gets wrong.
   */
  readonly noiseOfGreedyError: number;
  /**
   * What the measured noise is multiplied by where there are LatentStatistics: real errors hang together over pixels and
   * depend on the image, so that white noise of the same size would be trusted too much.
   */
  readonly noiseOfMeasured: number;
  /** Steps of conjugate gradients where nothing is known of the solution. */
  readonly solveSteps: number;
  /** Steps from the solution of the scale before. */
  readonly resolveSteps: number;
  /** Tokens of all simulated latents together, at least: small tokenizers take more latents. Seed of tokens and noise. */
  readonly simulatedTokens: number;
  readonly seed: number;
}

/** What docs/quantisation.md measured. */
export const defaultMmse: MmseSettings = {
  passes: 3,
  noiseOfGreedyError: 0.05,
  noiseOfMeasured: 8,
  solveSteps: 10,
  resolveSteps: 4,
  simulatedTokens: 2720,
  seed: 0,
};

/** Everything that does not depend on the image. About 1 MB per scale and pass at full size. */
export class MmseTables {
  readonly maps: ScaleMaps;
  readonly settings: MmseSettings;
  /** The noise that was assumed: mean variance per value. */
  readonly noise: number;
  /** Share of the simulated tokens that were recovered: what to expect at that noise. */
  readonly simulatedRecovery: number;
  /** Cosines over the pixels, [side, side], and the inverse covariance of the noise at every frequency, [side * side, c, c]. */
  readonly basis: Tensor;
  readonly inverseNoise: Tensor;
  readonly #steps: readonly Step[];
  readonly #start: readonly Tensor[];
  readonly #codesTransposed: Tensor;

  private constructor(
    maps: ScaleMaps,
    settings: MmseSettings,
    made: Awaited<ReturnType<typeof simulate>>,
  ) {
    this.maps = maps;
    this.settings = settings;
    this.noise = made.noise;
    this.simulatedRecovery = made.recovery;
    this.basis = made.basis;
    this.inverseNoise = made.inverseNoise;
    this.#steps = made.steps;
    this.#start = made.start;
    this.#codesTransposed = made.codesTransposed;
  }

  /** Simulates and keeps the tables. `maps` must outlive them. */
  static async build(
    maps: ScaleMaps,
    tokenizer: ImageTokenizer,
    settings: MmseSettings = defaultMmse,
  ): Promise<MmseTables> {
    check(settings);
    const made = await simulate(maps, tokenizer, settings);
    return new MmseTables(maps, settings, made);
  }

  /** f[batch, side, side, c] -> the most probable tokens after the last pass, [batch, tokenCount] (i32). */
  quantize(f: Tensor): Tensor {
    return scope(() => this.estimate(f).tokens);
  }

  /**
   * The tokens of `quantize` and the logits of the last pass by scale, [batch, n, codes]. `given`, by scale and of that
   * shape, is added to the logits of every pass: what is known of single tokens.
   */
  estimate(f: Tensor, given: readonly (Tensor | undefined)[] = []): { tokens: Tensor; logits: Tensor[] } {
    const { maps } = this;
    return scope(() => {
      let state = startState(maps, this.#start, f);
      const chosen: Tensor[] = [], lastLogits: Tensor[] = [];
      for (const [i, step] of this.#steps.entries()) {
        const before = state;
        const last = i >= this.#steps.length - maps.patchNums.length;
        const next = scope(() => {
          const { logits, probabilities, solution } = posterior(maps, before, step, given[step.scale]);
          const means = linear(probabilities, this.#codesTransposed);
          return {
            state: withMeans(maps, { ...before, solution }, step.scale, means),
            logits: last ? logits : undefined,
          };
        });
        state = next.state;
        if (next.logits) {
          lastLogits.push(next.logits);
          chosen.push(argmax(next.logits));
        }
      }
      return { tokens: concat(chosen, 1), logits: lastLogits };
    });
  }

  get bytes(): number {
    return [...this.#tensors()].reduce((bytes, tensor) => bytes + tensor.bytes, 0);
  }

  #tensors(): Set<Tensor> {
    const all = new Set<Tensor>([...this.#start, this.#codesTransposed, this.basis, this.inverseNoise]);
    for (const { covariance, weight, bias } of this.#steps) {
      const { noise, codes, cosines, inverseBlocks } = covariance;
      for (const tensor of [weight, bias, noise, cosines, inverseBlocks, ...codes]) if (tensor) all.add(tensor);
    }
    return all;
  }

  dispose(): void {
    for (const tensor of this.#tensors()) tensor.dispose();
  }
}

function check(
  { passes, noiseOfGreedyError, noiseOfMeasured, solveSteps, resolveSteps, simulatedTokens }: MmseSettings,
): void {
  for (const [name, value] of Object.entries({ passes, solveSteps, resolveSteps, simulatedTokens })) {
    if (!(Number.isInteger(value) && value >= 1)) {
      throw new Error(`mmse: ${name} expects an integer >= 1, got ${value}`);
    }
  }
  for (const [name, value] of Object.entries({ noiseOfGreedyError, noiseOfMeasured })) {
    if (!(value > 0 && value < Infinity)) throw new Error(`mmse: ${name} expects a number above 0, got ${value}`);
  }
}
