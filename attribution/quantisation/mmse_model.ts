/**
 * The statistical model of latents for mmse.ts and tree_search.ts: the prior of codes by scale, and the covariance of
 * the encoder's error. An inverse decoder's LatentStatistics give both. Without them all codes are equally likely, and
 * the error is small white noise.
 */
import {
  add,
  fromArray,
  matmul,
  mean,
  normals,
  scope,
  square,
  sub,
  type Tensor,
  uniforms,
} from "../../core/tensor/mod.ts";
import type { ImageTokenizer } from "../../models/family.ts";
import { bandOf } from "../../models/latent_statistics.ts";
import { applySpectral } from "./covariance.ts";
import type { MmseSettings } from "./mmse.ts";
import type { ScaleMaps } from "./scale_maps.ts";
import { applyTo, eigen, identity, type Matrix, trace } from "./symmetric.ts";

/**
 * Lower bound of variances. It keeps R invertible if greedy codes reproduce every latent, or if there is a single code.
 */
const leastVariance = 1e-12;

/** Moments of a scale's codes under the prior. */
export interface Moments {
  /** [c]. */
  readonly mean: Float64Array;
  /** [c, c]. */
  readonly covariance: Matrix;
  /** Mean variance per channel. */
  readonly variance: number;
}

/** The model. */
export interface Assumptions {
  /** Moments by scale. */
  readonly moments: readonly Moments[];
  /** Probability of codes by scale, [scales, codes]. */
  readonly prior: Float64Array;
  /** Covariance [c, c] of the encoder's error by frequency; a single one for white noise. */
  readonly noiseCovariances: readonly Matrix[];
  /** Mean variance per value of the encoder's error. */
  readonly noise: number;
}

/** Number of latents to simulate. */
export function simulatedLatents(
  { simulatedTokens }: Pick<MmseSettings, "simulatedTokens">,
  tokenCount: number,
): number {
  return Math.ceil(simulatedTokens / tokenCount);
}

/** The model from the tokenizer's LatentStatistics, or without them from the settings and the greedy quantiser. */
export async function assumptions(
  maps: ScaleMaps,
  tokenizer: ImageTokenizer,
  codebook: Float32Array,
  settings: MmseSettings,
): Promise<Assumptions> {
  const { channels: c, codes, patchNums } = maps;
  const prior = Float64Array.from(
    tokenizer.latents?.prior ?? new Float64Array(patchNums.length * codes).fill(1 / codes),
  );
  const moments = patchNums.map((_, s) => momentsOf(codebook, prior.subarray(s * codes, (s + 1) * codes), c));
  if (tokenizer.latents !== null) {
    const { side } = maps, measured = tokenizer.latents.noise;
    const bands = Array.from({ length: measured.length / (c * c) }, (_, band) => {
      return Float64Array.from(
        measured.subarray(band * c * c, (band + 1) * c * c),
        (v) => v * settings.noiseOfMeasured,
      );
    });
    const noiseCovariances = Array.from(
      { length: side * side },
      (_, w) => bands[bandOf(Math.floor(w / side), w % side)],
    );
    const noise = noiseCovariances.reduce((sum, covariance) => sum + trace(covariance, c), 0) / (c * side * side);
    return { moments, prior, noiseCovariances, noise };
  }
  const noise = await noiseOfGreedy(maps, tokenizer, settings);
  return { moments, prior, noiseCovariances: [identity(c).map((value) => value * noise)], noise };
}

function momentsOf(codebook: Float32Array, prior: Float64Array, c: number): Moments {
  const mean = new Float64Array(c), covariance = new Float64Array(c * c);
  prior.forEach((p, v) => {
    for (let i = 0; i < c; i++) mean[i] += codebook[v * c + i] * p;
  });
  prior.forEach((p, v) => {
    for (let i = 0; i < c; i++) {
      const di = (codebook[v * c + i] - mean[i]) * p;
      for (let j = 0; j < c; j++) covariance[i * c + j] += di * (codebook[v * c + j] - mean[j]);
    }
  });
  return { mean, covariance, variance: Math.max(trace(covariance, c) / c, leastVariance) };
}

/** The noise as a multiple of the greedy quantiser's mean squared error on latents of random tokens. */
async function noiseOfGreedy(
  maps: ScaleMaps,
  tokenizer: ImageTokenizer,
  settings: MmseSettings,
): Promise<number> {
  const { noiseOfGreedyError, seed } = settings, simulated = simulatedLatents(settings, maps.tokenCount);
  const truth = Int32Array.from(uniforms(seed, 0, simulated * maps.tokenCount), (u) => Math.floor(u * maps.codes));
  const error = scope(() => {
    const fHat = maps.dequantize(fromArray(maps.device, truth, [simulated, maps.tokenCount]));
    return mean(square(sub(tokenizer.quantize(fHat).fHat, fHat)));
  });
  const noise = Math.max(noiseOfGreedyError * await error.item(), leastVariance);
  error.dispose();
  return noise;
}

/** Draws the tokens of `count` images from the prior, [count * tokenCount]. */
export function drawTokens(
  maps: ScaleMaps,
  prior: Float64Array,
  count: number,
  seed: number,
): Int32Array<ArrayBuffer> {
  const { codes, starts, tokenCount } = maps;
  const draws = uniforms(seed, 0, count * tokenCount);
  const tokens = new Int32Array(draws.length);
  for (let s = 0; s + 1 < starts.length; s++) {
    const cumulative = new Float64Array(codes);
    let sum = 0;
    for (let v = 0; v < codes; v++) cumulative[v] = sum += prior[s * codes + v];
    for (let b = 0; b < count; b++) {
      for (let i = starts[s]; i < starts[s + 1]; i++) {
        const at = b * tokenCount + i;
        tokens[at] = firstAbove(cumulative, draws[at] * sum);
      }
    }
  }
  return tokens;
}

/** The first index of an ascending list whose value is above `value`, or the last index. */
function firstAbove(ascending: Float64Array, value: number): number {
  let low = 0, high = ascending.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ascending[middle] > value) high = middle;
    else low = middle + 1;
  }
  return low;
}

/**
 * Latents of tokens[batch, tokenCount] plus noise, [batch, side, side, c]. `cosines` is the transform of
 * spectral_blocks.ts.
 */
export function noisyLatents(
  maps: ScaleMaps,
  tokens: Tensor,
  noiseCovariances: readonly Matrix[],
  cosines: Tensor,
  seed: number,
): Tensor {
  const { device, channels: c } = maps;
  const roots = new Map([...new Set(noiseCovariances)].map((covariance) => {
    return [covariance, applyTo(eigen(covariance, c), (value) => Math.sqrt(Math.max(value, 0)))] as const;
  }));
  const values = Float32Array.from(noiseCovariances.flatMap((covariance) => [...roots.get(covariance)!]));
  return scope(() => {
    const fHat = maps.dequantize(tokens);
    const white = fromArray(device, normals(seed, 1000, fHat.size), fHat.shape);
    if (noiseCovariances.length > 1) {
      const blocks = fromArray(device, values, [noiseCovariances.length, c, c]);
      return add(fHat, applySpectral(cosines, blocks, white));
    }
    return add(fHat, matmul(white.reshape(-1, c), fromArray(device, values, [c, c])).reshape(...fHat.shape));
  });
}
