/**
 * The tables of mmse.ts: its steps are run on latents made of random tokens and noise, and what is uncertain on average
 * after every step is what the next one assumes. Nothing of it depends on an image; what is assumed is in mmse_model.ts.
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
import { assumptions, drawTokens, type Moments, noisyLatents, simulatedLatents } from "./mmse_model.ts";
import { onGrid, posterior, startState, type State, type Step, withMeans } from "./mmse_step.ts";
import type { ScaleMaps } from "./scale_maps.ts";
import { cosines, SpectralBlocks } from "./spectral_blocks.ts";
import { applyTo, eigen, identity, type Matrix, multiply, symmetrised, trace } from "./symmetric.ts";

/** Covariances are kept above this part of the codebook's variance, so that they can be inverted. */
const varianceFloor = 1e-6;
/** Scales that add less than this part of the noise to R are left out of it. */
const negligible = 1e-3;
/** Largest part of a code's uncertainty that other tokens are taken to explain. */
const mostExplained = 0.999;
/**
 * Patterns of signs per scale for the mean of A_s' R^-1 A_s: one token has no others to tell it from, few tokens are little
 * to average over.
 */
const signPatterns = (tokens: number) => (tokens === 1 ? 1 : tokens <= 16 ? 2 : 1);

export interface Simulated {
  readonly noise: number;
  /** Share of the simulated tokens that came out right. */
  readonly recovery: number;
  readonly steps: readonly Step[];
  /** Mean code by scale, [1, 1, c]. */
  readonly start: readonly Tensor[];
  /** Packed for `linear`: probabilities[.., codes] -> mean code. */
  readonly codesTransposed: Tensor;
  /** Cosines over the pixels, [side, side], and the inverse covariance of the noise at every frequency, [side * side, c, c]. */
  readonly basis: Tensor;
  readonly inverseNoise: Tensor;
}

/** Runs all steps. The tensors it returns belong to the caller. */
export async function simulate(maps: ScaleMaps, tokenizer: ImageTokenizer, settings: MmseSettings): Promise<Simulated> {
  const { device, channels: c, patchNums } = maps;
  const { passes, solveSteps, resolveSteps, seed } = settings;
  const batch = simulatedLatents(settings, maps.tokenCount);
  const codebook = await maps.codebook.data();
  const model = await assumptions(maps, tokenizer, codebook, settings);
  const { moments, noise, noiseCovariances } = model;
  const uncertain = moments.map(({ covariance }) => covariance);
  const start = moments.map(({ mean }) => keep(fromArray(device, Float32Array.from(mean), [1, 1, c])));
  const codesTransposed = keep(scope(() => packWeight(transpose(maps.codebook), "linear")));

  const truth = drawTokens(maps, model.prior, batch, seed);
  const tokens = fromArray(device, truth, [batch, maps.tokenCount]);
  const basis = keep(fromArray(device, cosines(maps.side), [maps.side, maps.side]));
  const f = noisyLatents(maps, tokens, noiseCovariances, basis, seed);
  const gains = await Promise.all(patchNums.map((_, s) => gainOf(maps, s, seed)));
  const pack = (s: number) => {
    const small = trace(uncertain[s], c) / c * gains[s] < negligible * noise;
    const values = Float32Array.from(uncertain[s]);
    return small ? null : keep(scope(() => packWeight(fromArray(device, values, [c, c]), "linear")));
  };
  const kernels = await Promise.all(maps.kernels.map((kernel) => kernel.data()));
  const blocks = new SpectralBlocks(maps, kernels);
  const noiseValues = Float32Array.from(noiseCovariances.flatMap((covariance) => [...covariance]));
  const noiseMap = noiseCovariances.length > 1
    ? keep(fromArray(device, noiseValues, [noiseCovariances.length, c, c]))
    : keep(scope(() => packWeight(fromArray(device, noiseValues, [c, c]), "linear")));
  const noiseAt = (w: number) => noiseCovariances[noiseCovariances.length > 1 ? w : 0];
  const inverseNoise = keep(fromArray(device, blocks.inverse(noiseAt), [maps.side ** 2, c, c]));
  const update = (s: number) => {
    const packed = pack(s);
    blocks.set(s, packed && uncertain[s]);
    return packed;
  };
  let codes = patchNums.map((_, s) => update(s));
  let state: State = keep(startState(maps, start, f));
  const steps: Step[] = [];
  const right = new Array<number>(patchNums.length).fill(0);
  for (let i = 0; i < passes * patchNums.length; i++) {
    const scale = i % patchNums.length;
    const inverseBlocks = keep(fromArray(device, blocks.inverse(noiseAt), [maps.side ** 2, c, c]));
    const covariance: Covariance = { noise: noiseMap, codes, cosines: basis, inverseBlocks };
    const explained = await meanPrecision(maps, covariance, scale, solveSteps, seed + i);
    const tables = likelihoodTables(codebook, uncertain[scale], explained, moments[scale], c);
    const logPrior = (code: number) => Math.log(model.prior[scale * maps.codes + code]);
    const step: Step = {
      scale,
      covariance,
      solveSteps: i === 0 ? solveSteps : resolveSteps,
      weight: keep(scope(() => packWeight(fromArray(device, tables.weight, [maps.codes, 2 * c]), "linear"))),
      bias: keep(fromArray(device, tables.bias.map((value, code) => value + logPrior(code)), [maps.codes])),
    };
    steps.push(step);
    const before = state;
    const done = scope(() => {
      const { logits, probabilities, solution } = posterior(maps, before, step);
      const means = linear(probabilities, codesTransposed);
      const average = mean(probabilities.reshape(-1, maps.codes), 0).reshape(maps.codes, 1);
      const second = matmul(mul(maps.codebook, average), maps.codebook, { transA: true });
      const rows = means.reshape(-1, c);
      const covarianceNow = sub(
        second,
        mul(matmul(rows, rows, { transA: true }), fromArray(device, [c / rows.size], [1])),
      );
      return {
        chosen: argmax(logits),
        covarianceNow,
        state: withMeans(maps, { ...before, solution }, scale, means),
      };
    });
    uncertain[scale] = symmetrised(await done.covarianceNow.data(), c);
    codes = codes.map((own, s) => (s === scale ? update(s) : own));
    right[scale] = countRight(await done.chosen.ints(), truth, maps, scale);
    keep(done.state);
    disposeState(before, done.state);
    for (const tensor of [done.chosen, done.covarianceNow]) tensor.dispose();
    state = done.state;
  }
  // What the last step left is used by no further one.
  const used = new Set(steps.flatMap(({ covariance }) => covariance.codes));
  for (const own of codes) if (!used.has(own)) own?.dispose();
  disposeState(state);
  for (const tensor of [tokens, f]) tensor.dispose();
  return {
    noise,
    recovery: right.reduce((a, b) => a + b, 0) / truth.length,
    steps,
    start,
    codesTransposed,
    basis,
    inverseNoise,
  };
}

function disposeState(state: State, kept?: State): void {
  const stays = new Set<Tensor | undefined>(kept ? [...kept.means, kept.rest, kept.solution] : []);
  for (const tensor of [...state.means, state.rest, state.solution]) if (!stays.has(tensor)) tensor?.dispose();
}

/** Signs of +-1 for every token of a scale. */
function signsOf(n: number, seed: number, stream: number): Float32Array<ArrayBuffer> {
  return uniforms(seed, stream, n).map((u) => (u < 0.5 ? -1 : 1));
}

/** Mean of the diagonal of A_s'A_s. */
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
 * The mean over a scale's tokens of A_p' R^-1 A_p, [c, c]. One probe per channel has that channel set, with a random sign,
 * in all tokens; the signs let the other tokens' parts cancel.
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
  const found = scope(() => {
    const z = fromArray(maps.device, probes, [patterns * c, n, c]);
    const filtered = solve(maps, covariance, maps.forward(onGrid(maps, z, scale), scale), solveSteps);
    const y = maps.adjoint(filtered, scale).reshape(patterns, c, n, c);
    const signed = mul(y, fromArray(maps.device, signs, [patterns, 1, n, 1]));
    return mean(mean(signed, 2), 0);
  });
  const precision = symmetrised(await found.data(), c);
  found.dispose();
  return precision;
}

/** The linear map from [y, m] to log-likelihoods, with P and h as in mmse.ts. */
function likelihoodTables(
  codebook: Float32Array,
  uncertain: Matrix,
  explained: Matrix,
  { variance }: Moments,
  c: number,
): { weight: Float32Array<ArrayBuffer>; bias: Float32Array<ArrayBuffer> } {
  const spectrum = eigen(uncertain, c);
  const floored = (value: number) => Math.max(value, varianceFloor * variance);
  const root = applyTo(spectrum, (value) => Math.sqrt(floored(value)));
  const inverseRoot = applyTo(spectrum, (value) => 1 / Math.sqrt(floored(value)));
  // In units of the code's own uncertainty M has eigenvalues below 1; estimated ones may not.
  const inner = eigen(symmetrised(multiply(multiply(root, explained, c), root, c), c), c);
  const ratio = applyTo(inner, (value) => {
    const kept = Math.min(Math.max(value, 0), mostExplained);
    return kept / (1 - kept);
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
      let evidence = 0, own = 0;
      for (let i = 0; i < c; i++) {
        const e = codebook[v * c + i];
        evidence += e * gain[i * c + j];
        own += e * precision[i * c + j];
      }
      weight[v * 2 * c + j] = evidence;
      weight[v * 2 * c + c + j] = own;
      norm += own * codebook[v * c + j];
    }
    bias[v] = -norm / 2;
  }
  return { weight, bias };
}

function countRight(chosen: Int32Array, truth: Int32Array, maps: ScaleMaps, scale: number): number {
  const n = maps.patchNums[scale] ** 2;
  let right = 0;
  for (let i = 0; i < chosen.length; i++) {
    if (chosen[i] === truth[Math.floor(i / n) * maps.tokenCount + maps.starts[scale] + i % n]) right++;
  }
  return right;
}
