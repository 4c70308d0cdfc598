/**
 * Optimised quantisation by estimating all code vectors together: soft interference cancellation with minimum mean
 * squared error. A linear filter suppresses the uncertainty of other tokens before a token's likelihood is computed.
 * The posterior mean of its code then replaces the token in what the next scale sees. This recovers more true tokens
 * than sweeps over single tokens, which follow the noise once a coarse token is wrong.
 *
 * For one scale s: R is the covariance of f - fHat (covariance.ts), m are the means of the code vectors, and y = A_s'
 * R^-1 (f - A m). M is the mean of A_s' R^-1 A_s over the tokens of the scale, and U the covariance of a code. Without
 * the token's own contribution the precision is P = (M^-1 - U)^-1 and the evidence is h = (I + P U) y + P m. A code e
 * has the log-likelihood h'e - e'Pe / 2, plus the log-prior of the scale. U and M depend only on the step, not on the
 * image: a simulation with tokens from the prior gives them. So an image only takes products with tables.
 *
 * Sources: Wang & Poor 1999 (iterative soft interference cancellation), Ma & Ping 2017 (orthogonal AMP), Rush, Greig &
 * Venkataramanan 2017 (decoding of sparse superposition codes, which multi-scale residual codes are).
 */
import { argmax, concat, linear, scope, type Tensor } from "../../core/tensor/mod.ts";
import type { ImageTokenizer } from "../../models/family.ts";
import { simulate, type Simulated } from "./mmse_simulation.ts";
import { posterior, startState, type Step, withMeans } from "./mmse_step.ts";
import type { ScaleMaps } from "./scale_maps.ts";

/** How codes are estimated. */
export interface MmseSettings {
  /** Passes over all scales, coarse to fine. */
  readonly passes: number;
  /**
   * Assumed variance per value of the encoder's error, f minus the fHat of the true tokens, as a multiple of the greedy
   * quantiser's error on latents of random tokens. Not used if the family has LatentStatistics.
   */
  readonly noiseOfGreedyError: number;
  /**
   * Factor of the noise that LatentStatistics give. Real errors are correlated over pixels and depend on the image, so
   * noise of the measured size would make estimates overconfident.
   */
  readonly noiseOfMeasured: number;
  /** Steps of conjugate gradients for the first solution. */
  readonly solveSteps: number;
  /** Steps of conjugate gradients from the previous scale's solution. */
  readonly resolveSteps: number;
  /** Least number of simulated tokens. Small tokenizers simulate more latents. */
  readonly simulatedTokens: number;
  /** Seed of simulated tokens and noise. */
  readonly seed: number;
}

/** The settings that docs/quantisation.md measures. */
export const defaultMmse: MmseSettings = {
  passes: 3,
  noiseOfGreedyError: 0.05,
  noiseOfMeasured: 8,
  solveSteps: 10,
  resolveSteps: 4,
  simulatedTokens: 2720,
  seed: 0,
};

/** The tables of the estimate, which do not depend on the image: about 1 MB per scale and pass at full size. */
export class MmseTables {
  /** The maps of the tokenizer. */
  readonly maps: ScaleMaps;
  /** How they were made. */
  readonly settings: MmseSettings;
  /** The assumed noise, as mean variance per value. */
  readonly noise: number;
  /** Share of the simulated tokens that were recovered, 0 to 1: what to expect at that noise. */
  readonly simulatedRecovery: number;
  /** The cosine transform of one axis, [side, side]. */
  readonly basis: Tensor;
  /** Inverse covariance of the noise by frequency, [side * side, c, c]. */
  readonly inverseNoise: Tensor;
  readonly #steps: readonly Step[];
  readonly #start: readonly Tensor[];
  readonly #codesTransposed: Tensor;

  private constructor(
    maps: ScaleMaps,
    settings: MmseSettings,
    made: Simulated,
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

  /** Makes the tables by simulation. `maps` must exist as long as they do. Throws on settings out of range. */
  static async build(
    maps: ScaleMaps,
    tokenizer: ImageTokenizer,
    settings: MmseSettings = defaultMmse,
  ): Promise<MmseTables> {
    check(settings);
    const made = await simulate(maps, tokenizer, settings);
    return new MmseTables(maps, settings, made);
  }

  /** f[batch, side, side, c] -> the most probable tokens of the last pass, [batch, tokenCount] (i32). */
  quantize(f: Tensor): Tensor {
    return scope(() => this.estimate(f).tokens);
  }

  /**
   * The tokens of `quantize`, and the logits of the last pass by scale, [batch, n, codes]. `given` is added to the
   * logits of every pass; it has what is known about single tokens, by scale and of the same shape.
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

  /** Bytes of the tables. */
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

  /** Frees the tables. */
  dispose(): void {
    for (const tensor of this.#tensors()) tensor.dispose();
  }
}

function check(
  { passes, noiseOfGreedyError, noiseOfMeasured, solveSteps, resolveSteps, simulatedTokens }: MmseSettings,
): void {
  for (const [name, value] of Object.entries({ passes, solveSteps, resolveSteps, simulatedTokens })) {
    if (!(Number.isInteger(value) && value >= 1)) {
      throw new RangeError(`mmse: ${name} expects an integer >= 1, got ${value}`);
    }
  }
  for (const [name, value] of Object.entries({ noiseOfGreedyError, noiseOfMeasured })) {
    if (!(value > 0 && value < Infinity)) throw new RangeError(`mmse: ${name} expects a number above 0, got ${value}`);
  }
}
