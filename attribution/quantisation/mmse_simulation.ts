/**
 * Makes the tables of mmse.ts by simulation: runs its steps on latents of random tokens with noise. The mean
 * uncertainty that a step leaves is what the next step assumes. mmse_model.ts has the model of tokens and noise.
 */
import {
  argmax,
  fromArray,
  keep,
  linear,
  matmul,
  mean,
  mul,
  packWeight,
  scope,
  square,
  sub,
  type Tensor,
  transpose,
  uniforms,
} from "../../core/tensor/mod.ts";
import type { ImageTokenizer } from "../../models/family.ts";
import { type Covariance, solve } from "./covariance.ts";
import type { MmseSettings } from "./mmse.ts";
import {
  type Assumptions,
  assumptions,
  drawTokens,
  type Moments,
  noisyLatents,
  simulatedLatents,
} from "./mmse_model.ts";
import { onGrid, posterior, startState, type State, type Step, withMeans } from "./mmse_step.ts";
import type { ScaleMaps } from "./scale_maps.ts";
import { cosines, SpectralBlocks } from "./spectral_blocks.ts";
import { applyTo, eigen, identity, type Matrix, multiply, symmetrised, trace } from "./symmetric.ts";

/**
 * Lower bound of the eigenvalues of covariances, as a share of the codebook's variance, so that they can be inverted.
 */
const varianceFloor = 1e-6;
/** Scales that add less than this share of the noise to R are left out of it. */
const negligible = 1e-3;
/** Largest share of a code's uncertainty that the evidence may explain. */
const mostExplained = 0.999;
/**
 * Number of sign patterns for the mean of A_s' R^-1 A_s. A single token needs no signs. With few tokens, one pattern
 * averages over too little.
 */
const signPatterns = (tokens: number) => (tokens === 1 ? 1 : tokens <= 16 ? 2 : 1);

/** The result of a simulation. */
export interface Simulated {
  /** Mean variance per value of the assumed noise. */
  readonly noise: number;
  /** Share of the simulated tokens that were recovered, 0 to 1. */
  readonly recovery: number;
  /** Tables of all steps, in order. */
  readonly steps: readonly Step[];
  /** Mean code by scale, [1, 1, c]. */
  readonly start: readonly Tensor[];
  /** The codebook packed for `linear`: probabilities[.., codes] -> mean code [.., c]. */
  readonly codesTransposed: Tensor;
  /** The cosine transform of one axis, [side, side]. */
  readonly basis: Tensor;
  /** Inverse covariance of the noise by frequency, [side * side, c, c]. */
  readonly inverseNoise: Tensor;
}

/** Runs all steps on simulated latents. The caller owns the tensors of the result. */
export async function simulate(maps: ScaleMaps, tokenizer: ImageTokenizer, settings: MmseSettings): Promise<Simulated> {
  const { device, channels: c, patchNums } = maps;
  const { passes, solveSteps, resolveSteps, seed } = settings;
  const images = simulatedLatents(settings, maps.tokenCount);
  const codebook = await maps.codebook.data();
  const model = await assumptions(maps, tokenizer, codebook, settings);
  const start = model.moments.map(({ mean }) => keep(fromArray(device, Float32Array.from(mean), [1, 1, c])));
  const codesTransposed = keep(scope(() => packWeight(transpose(maps.codebook), "linear")));
  const uncertainty = await Uncertainty.open(maps, model, seed);
  const truth = drawTokens(maps, model.prior, images, seed);
  const tokens = fromArray(device, truth, [images, maps.tokenCount]);
  const f = noisyLatents(maps, tokens, model.noiseCovariances, uncertainty.basis, seed);

  let state: State = keep(startState(maps, start, f));
  const steps: Step[] = [];
  const right = new Array<number>(patchNums.length).fill(0);
  for (let i = 0; i < passes * patchNums.length; i++) {
    const scale = i % patchNums.length;
    const covariance = uncertainty.covariance();
    const precision = await meanPrecision(maps, covariance, scale, solveSteps, seed + i);
    const tables = likelihoodTables(codebook, uncertainty.codes[scale], precision, model.moments[scale], c);
    const logPrior = (code: number) => Math.log(model.prior[scale * maps.codes + code]);
    const step: Step = {
      scale,
      covariance,
      solveSteps: i === 0 ? solveSteps : resolveSteps,
      weight: keep(scope(() => packWeight(fromArray(device, tables.weight, [maps.codes, 2 * c]), "linear"))),
      bias: keep(fromArray(device, tables.bias.map((value, code) => value + logPrior(code)), [maps.codes])),
    };
    steps.push(step);
    const next = simulateStep(maps, state, step, codesTransposed);
    uncertainty.set(scale, symmetrised(await next.covariance.data(), c));
    right[scale] = countRight(await next.chosen.ints(), truth, maps, scale);
    keep(next.state);
    disposeState(state, next.state);
    for (const tensor of [next.chosen, next.covariance]) tensor.dispose();
    state = next.state;
  }
  uncertainty.disposeUnused(steps);
  disposeState(state);
  for (const tensor of [tokens, f]) tensor.dispose();
  const recovery = right.reduce((a, b) => a + b, 0) / truth.length;
  const { basis, inverseNoise } = uncertainty;
  return { noise: model.noise, recovery, steps, start, codesTransposed, basis, inverseNoise };
}

/** The covariance R during the simulation. Codes of a scale become less uncertain with every step. */
class Uncertainty {
  /** The cosine transform of one axis, [side, side]. */
  readonly basis: Tensor;
  /** Inverse covariance of the noise by frequency, [side * side, c, c]. */
  readonly inverseNoise: Tensor;
  /** Mean covariance [c, c] of a code vector by scale. */
  readonly codes: Matrix[];
  readonly #maps: ScaleMaps;
  readonly #model: Assumptions;
  /** Mean of the diagonal of A_s'A_s by scale. */
  readonly #gains: readonly number[];
  readonly #blocks: SpectralBlocks;
  /** The covariance of the noise, as `Covariance` has it. */
  readonly #noise: Tensor;
  #packedCodes: readonly (Tensor | null)[];

  private constructor(
    maps: ScaleMaps,
    model: Assumptions,
    gains: readonly number[],
    kernels: readonly Float32Array[],
  ) {
    const { device, channels: c, side } = maps, { noiseCovariances } = model;
    this.#maps = maps;
    this.#model = model;
    this.#gains = gains;
    this.basis = keep(fromArray(device, cosines(side), [side, side]));
    this.#blocks = new SpectralBlocks(maps, kernels);
    const noise = Float32Array.from(noiseCovariances.flatMap((covariance) => [...covariance]));
    this.#noise = noiseCovariances.length > 1
      ? keep(fromArray(device, noise, [noiseCovariances.length, c, c]))
      : keep(scope(() => packWeight(fromArray(device, noise, [c, c]), "linear")));
    // Before any codes are set, the blocks are those of the noise alone.
    this.inverseNoise = this.#inverseBlocks();
    this.codes = model.moments.map(({ covariance }) => covariance);
    this.#packedCodes = this.codes.map((_, scale) => this.#update(scale));
  }

  /** The covariance before the first step, where codes have their prior. */
  static async open(maps: ScaleMaps, model: Assumptions, seed: number): Promise<Uncertainty> {
    const gains = await Promise.all(maps.patchNums.map((_, scale) => gainOf(maps, scale, seed)));
    const kernels = await Promise.all(maps.kernels.map((kernel) => kernel.data()));
    return new Uncertainty(maps, model, gains, kernels);
  }

  /** R as it is now. */
  covariance(): Covariance {
    return { noise: this.#noise, codes: this.#packedCodes, cosines: this.basis, inverseBlocks: this.#inverseBlocks() };
  }

  /** Sets the covariance [c, c] of a scale's codes. Covariances that were taken before stay as they are. */
  set(scale: number, covariance: Matrix): void {
    this.codes[scale] = covariance;
    this.#packedCodes = this.#packedCodes.map((packed, s) => s === scale ? this.#update(scale) : packed);
  }

  /** Frees the covariances of codes that no step uses. */
  disposeUnused(steps: readonly Step[]): void {
    const used = new Set(steps.flatMap(({ covariance }) => covariance.codes));
    for (const packed of this.#packedCodes) if (!used.has(packed)) packed?.dispose();
  }

  /**
   * Packs the covariance of a scale's codes, and updates the preconditioner. Null if it is negligible beside the noise.
   */
  #update(scale: number): Tensor | null {
    const { device, channels: c } = this.#maps, covariance = this.codes[scale];
    const isSmall = trace(covariance, c) / c * this.#gains[scale] < negligible * this.#model.noise;
    this.#blocks.set(scale, isSmall ? null : covariance);
    if (isSmall) return null;
    return keep(scope(() => packWeight(fromArray(device, Float32Array.from(covariance), [c, c]), "linear")));
  }

  #inverseBlocks(): Tensor {
    const { device, channels: c, side } = this.#maps, { noiseCovariances } = this.#model;
    const noiseAt = (frequency: number) => noiseCovariances[noiseCovariances.length > 1 ? frequency : 0];
    return keep(fromArray(device, this.#blocks.inverse(noiseAt), [side ** 2, c, c]));
  }
}

/**
 * One step: the new state, the chosen codes [batch, n] (i32), and the mean covariance [c, c] that the posterior leaves.
 */
function simulateStep(
  maps: ScaleMaps,
  state: State,
  step: Step,
  codesTransposed: Tensor,
): { state: State; chosen: Tensor; covariance: Tensor } {
  const { device, channels: c, codebook } = maps;
  return scope(() => {
    const { logits, probabilities, solution } = posterior(maps, state, step);
    const means = linear(probabilities, codesTransposed);
    const average = mean(probabilities.reshape(-1, maps.codes), 0).reshape(maps.codes, 1);
    const second = matmul(mul(codebook, average), codebook, { transA: true });
    const rows = means.reshape(-1, c);
    const ofMeans = mul(matmul(rows, rows, { transA: true }), fromArray(device, [c / rows.size], [1]));
    return {
      chosen: argmax(logits),
      covariance: sub(second, ofMeans),
      state: withMeans(maps, { ...state, solution }, step.scale, means),
    };
  });
}

/** Frees a state, except the tensors that `kept` shares with it. */
function disposeState(state: State, kept?: State): void {
  const shared = new Set<Tensor | undefined>(kept ? [...kept.means, kept.rest, kept.solution] : []);
  for (const tensor of [...state.means, state.rest, state.solution]) if (!shared.has(tensor)) tensor?.dispose();
}

/** n random signs, 1 or -1. */
function signsOf(n: number, seed: number, stream: number): Float32Array<ArrayBuffer> {
  return uniforms(seed, stream, n).map((u) => (u < 0.5 ? -1 : 1));
}

/** Mean of the diagonal of A_s'A_s, estimated with random signs. */
async function gainOf(maps: ScaleMaps, scale: number, seed: number): Promise<number> {
  const n = maps.patchNums[scale] ** 2, c = maps.channels;
  const energy = scope(() => {
    const z = fromArray(maps.device, signsOf(n * c, seed, 2000 + scale), [1, n, c]);
    return mean(square(maps.forward(onGrid(maps, z, scale), scale)));
  });
  const gain = await energy.item() * maps.size / (n * c);
  energy.dispose();
  return gain;
}

/**
 * The mean over a scale's tokens p of A_p' R^-1 A_p, [c, c]. A probe per channel sets that channel in all tokens, with
 * random signs, so that the contributions of other tokens cancel on average.
 */
async function meanPrecision(
  maps: ScaleMaps,
  covariance: Covariance,
  scale: number,
  solveSteps: number,
  seed: number,
): Promise<Matrix> {
  const n = maps.patchNums[scale] ** 2, c = maps.channels;
  const patterns = signPatterns(n);
  const signs = signsOf(patterns * n, seed, 3000);
  const probes = new Float32Array(patterns * c * n * c);
  for (let k = 0; k < patterns; k++) {
    for (let i = 0; i < c; i++) for (let p = 0; p < n; p++) probes[((k * c + i) * n + p) * c + i] = signs[k * n + p];
  }
  const estimate = scope(() => {
    const z = fromArray(maps.device, probes, [patterns * c, n, c]);
    const filtered = solve(maps, covariance, maps.forward(onGrid(maps, z, scale), scale), solveSteps);
    const y = maps.adjoint(filtered, scale).reshape(patterns, c, n, c);
    const signed = mul(y, fromArray(maps.device, signs, [patterns, 1, n, 1]));
    return mean(mean(signed, 2), 0);
  });
  const precision = symmetrised(await estimate.data(), c);
  estimate.dispose();
  return precision;
}

/** The linear map from [y, m] to the log-likelihoods of all codes, with P and h as in mmse.ts. */
function likelihoodTables(
  codebook: Float32Array,
  uncertain: Matrix,
  information: Matrix,
  { variance }: Moments,
  c: number,
): { weight: Float32Array<ArrayBuffer>; bias: Float32Array<ArrayBuffer> } {
  const spectrum = eigen(uncertain, c);
  const floored = (value: number) => Math.max(value, varianceFloor * variance);
  const root = applyTo(spectrum, (value) => Math.sqrt(floored(value)));
  const inverseRoot = applyTo(spectrum, (value) => 1 / Math.sqrt(floored(value)));
  // Relative to the code's uncertainty M has eigenvalues below 1. Estimated ones may lie outside, so they are clipped.
  const inner = eigen(symmetrised(multiply(multiply(root, information, c), root, c), c), c);
  const ratio = applyTo(inner, (value) => {
    const explained = Math.min(Math.max(value, 0), mostExplained);
    return explained / (1 - explained);
  });
  const precision = symmetrised(multiply(multiply(inverseRoot, ratio, c), inverseRoot, c), c);
  const gain = multiply(precision, applyTo(spectrum, floored), c);
  const one = identity(c);
  for (let i = 0; i < c * c; i++) gain[i] += one[i];

  const codes = codebook.length / c;
  const weight = new Float32Array(codes * 2 * c), bias = new Float32Array(codes);
  for (let v = 0; v < codes; v++) {
    let norm = 0;
    for (let j = 0; j < c; j++) {
      let evidence = 0, quadratic = 0;
      for (let i = 0; i < c; i++) {
        const e = codebook[v * c + i];
        evidence += e * gain[i * c + j];
        quadratic += e * precision[i * c + j];
      }
      weight[v * 2 * c + j] = evidence;
      weight[v * 2 * c + c + j] = quadratic;
      norm += quadratic * codebook[v * c + j];
    }
    bias[v] = -norm / 2;
  }
  return { weight, bias };
}

/** How many chosen codes [batch, n] of a scale are the true ones. */
function countRight(chosen: Int32Array, truth: Int32Array, maps: ScaleMaps, scale: number): number {
  const n = maps.patchNums[scale] ** 2;
  let right = 0;
  for (let i = 0; i < chosen.length; i++) {
    if (chosen[i] === truth[Math.floor(i / n) * maps.tokenCount + maps.starts[scale] + i % n]) right++;
  }
  return right;
}
