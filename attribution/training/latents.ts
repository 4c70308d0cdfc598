/**
 * Measures an encoder's LatentStatistics on pairs that it was not trained on: how far its refined latents are from f_Z, and which
 * codes there are. It trains nothing; the quantiser of attribution/quantisation uses the result.
 */
import { disposeAll, matmul, scope, sub } from "../../core/tensor/mod.ts";
import type { LatentStatistics } from "../../models/var/latent_statistics.ts";
import { VarFamily } from "../../models/var/family.ts";
import { invert } from "../signals.ts";
import { batches, breathe } from "./evaluate.ts";
import type { PairSource } from "./pairs.ts";
import type { Trainee } from "./trainee.ts";

/** Variances are kept above this part of their mean, so that the covariance can be inverted. */
const leastVariance = 1e-3;

/**
 * The statistics over the pairs `indices`; null for a family with one token per position, which needs none, and where the
 * tokens of some pairs are not known, or there are no pairs.
 */
export async function measureLatents(
  trainee: Trainee,
  pairs: PairSource,
  indices: readonly number[],
  batch: number,
): Promise<LatentStatistics | null> {
  const { family } = trainee;
  if (!(family instanceof VarFamily) || pairs.partial || indices.length === 0) return null;
  const { zChannels: c, codes, patchNums } = family.config;
  const noise = new Float64Array(c * c);
  const counts = patchNums.map(() => new Float64Array(codes));
  const scaleOf = patchNums.flatMap((pn, s) => new Array<number>(pn * pn).fill(s));
  let pixels = 0;
  for (const some of batches(indices, batch)) {
    await breathe();
    const found = await pairs.batch(some);
    const tokens = found.map((pair) => pair.tokens!);
    const measured = scope(() => {
      const f = invert(family, trainee.images(found.map((pair) => pair.pixels)), true).latent;
      const error = sub(f, trainee.targets(tokens)).reshape(-1, c);
      return { products: matmul(error, error, { transA: true }) };
    });
    (await measured.products.data()).forEach((value, i) => noise[i] += value);
    disposeAll(measured);
    pixels += some.length * patchNums.at(-1)! ** 2;
    for (const own of tokens) own.forEach((token, i) => counts[scaleOf[i]][token]++);
  }
  return { noise: covariance(noise, c, pixels), prior: codePriors(counts) };
}

function covariance(products: Float64Array, c: number, pixels: number): Float32Array<ArrayBuffer> {
  let trace = 0;
  for (let i = 0; i < c; i++) trace += products[i * c + i] / pixels;
  const floor = Math.max(leastVariance * trace / c, 1e-12);
  return Float32Array.from(products, (_, i) => {
    const row = Math.floor(i / c), column = i % c;
    const both = (products[row * c + column] + products[column * c + row]) / 2;
    return both / pixels + (row === column ? floor : 0);
  });
}

/**
 * Probabilities from counts[scale][code]. Coarse scales have few tokens: to their counts those of all scales are added, with
 * the weight of a quarter of a token per code (and these, with half a token per code).
 */
export function codePriors(counts: readonly Float64Array[]): Float32Array<ArrayBuffer> {
  const codes = counts[0].length;
  const all = new Float64Array(codes).fill(0.5);
  for (const own of counts) own.forEach((n, v) => all[v] += n);
  const allTotal = all.reduce((a, b) => a + b, 0), weight = codes / 4;
  const prior = new Float32Array(counts.length * codes);
  counts.forEach((own, s) => {
    const total = own.reduce((a, b) => a + b, 0) + weight;
    own.forEach((n, v) => prior[s * codes + v] = (n + weight * all[v] / allTotal) / total);
  });
  return prior;
}
