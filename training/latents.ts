/**
 * Measures the latent statistics of an encoder on held-out pairs: the covariance of its errors by frequency, and the
 * frequencies of codes. The quantiser of attribution/quantisation/ uses them.
 */
import { disposeAll, fromArray, matmul, scope, sub } from "../core/tensor/mod.ts";
import { bandCount, bandOf, type LatentStatistics } from "../models/latent_statistics.ts";
import { byFrequency } from "../attribution/quantisation/covariance.ts";
import { cosines } from "../attribution/quantisation/spectral_blocks.ts";
import { trace } from "../attribution/quantisation/symmetric.ts";
import { invert } from "../attribution/signals/reconstruction.ts";
import { batches, breathe } from "./evaluate.ts";
import type { PairSource } from "./pairs.ts";
import type { Trainee } from "./trainee.ts";

/** Part of the mean variance that is added to all variances, so that the covariance can be inverted. */
const leastVariance = 1e-3;

/**
 * Measures the statistics on the pairs `indices`. Returns null for a family with one token per position, which needs
 * none, without pairs, and when tokens of some pairs are unknown.
 */
export async function measureLatents(
  trainee: Trainee,
  pairs: PairSource,
  indices: readonly number[],
  batch: number,
): Promise<LatentStatistics | null> {
  const { tokenizer } = trainee;
  if (tokenizer.residual === null || pairs.partial || indices.length === 0) return null;
  const { patchNums } = tokenizer;
  const [codes, c] = tokenizer.codebook.shape;
  const side = patchNums[patchNums.length - 1], bands = bandCount(side);
  const noise = Array.from({ length: bands }, () => new Float64Array(c * c)), samples = new Float64Array(bands);
  const counts = patchNums.map(() => new Float64Array(codes));
  const scaleOf = patchNums.flatMap((pn, s) => new Array<number>(pn * pn).fill(s));
  for (const some of batches(indices, batch)) {
    await breathe();
    const batchPairs = await pairs.batch(some);
    const tokens = batchPairs.map((pair) => pair.tokens!);
    const measured = scope(() => {
      const f = invert(tokenizer, trainee.images(batchPairs.map((pair) => pair.pixels)), true).latent;
      const error = sub(f, trainee.targets(tokens));
      const basis = fromArray(f.device, cosines(side), [side, side]);
      const spectrum = byFrequency(basis, error);
      return { products: matmul(spectrum, spectrum, { transA: true }) };
    });
    (await measured.products.data()).forEach((value, i) => {
      const w = Math.floor(i / (c * c));
      noise[bandOf(Math.floor(w / side), w % side)][i % (c * c)] += value;
    });
    disposeAll(measured);
    for (let w = 0; w < side * side; w++) samples[bandOf(Math.floor(w / side), w % side)] += some.length;
    for (const ids of tokens) ids.forEach((token, i) => counts[scaleOf[i]][token]++);
  }
  const floor = leastVariance * noise.reduce((sum, products) => sum + trace(products, c), 0) /
    (c * samples.reduce((a, b) => a + b));
  const covariances = noise.map((products, band) => covariance(products, c, samples[band], Math.max(floor, 1e-12)));
  return { noise: Float32Array.from(covariances.flatMap((values) => [...values])), prior: codePriors(counts) };
}

/** The symmetric mean of products [c, c] over samples, with `floor` added to the diagonal. */
/** The symmetric mean of products [c, c] over samples, with `floor` added to the diagonal. */
function covariance(products: Float64Array, c: number, samples: number, floor: number): Float32Array<ArrayBuffer> {
  return Float32Array.from(products, (_, i) => {
    const row = Math.floor(i / c), column = i % c;
    const both = (products[row * c + column] + products[column * c + row]) / 2;
    return both / samples + (row === column ? floor : 0);
  });
}

/**
 * Smoothed probabilities [scale, code] from counts[scale][code]. Coarse scales have few tokens, so the distribution
 * over all scales is added to each with the weight of a quarter of a token per code. That distribution is smoothed with
 * half a token per code.
 */
export function codePriors(counts: readonly Float64Array[]): Float32Array<ArrayBuffer> {
  const codes = counts[0].length;
  const all = new Float64Array(codes).fill(0.5);
  for (const ofScale of counts) ofScale.forEach((n, v) => all[v] += n);
  const allTotal = all.reduce((a, b) => a + b, 0), weight = codes / 4;
  const prior = new Float32Array(counts.length * codes);
  counts.forEach((ofScale, s) => {
    const total = ofScale.reduce((a, b) => a + b, 0) + weight;
    ofScale.forEach((n, v) => prior[s * codes + v] = (n + weight * all[v] / allTotal) / total);
  });
  return prior;
}
