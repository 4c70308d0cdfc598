/**
 * Measures the latent statistics of an encoder (models/latent_statistics.ts) on images whose tokens are known: the
 * covariance of its errors by frequency, and the frequencies of codes. The quantiser of attribution/quantisation/ uses
 * them. training/latents.ts measures an encoder that it has trained, attribution/calibration/estimate_latents.ts one that
 * others trained.
 */
import { disposeAll, fromArray, matmul, mean, scope, square, sub, type Tensor } from "../../core/tensor/mod.ts";
import type { ImageTokenizer } from "../../models/family.ts";
import { bandCount, bandOf, type LatentStatistics } from "../../models/latent_statistics.ts";
import { byFrequency } from "../quantisation/covariance.ts";
import { cosines } from "../quantisation/spectral_blocks.ts";
import { trace } from "../quantisation/symmetric.ts";
import { invert } from "./reconstruction.ts";

/** Part of the mean variance that is added to all variances, so that the covariance can be inverted. */
const leastVariance = 1e-3;

/** Sums over images, of a tokenizer with several scales. */
export class LatentMeter {
  readonly #tokenizer: ImageTokenizer;
  readonly #noise: readonly Float64Array[];
  readonly #samples: Float64Array;
  readonly #counts: readonly Float64Array[];
  readonly #scaleOf: readonly number[];
  #images = 0;
  #refined = 0;
  #plain = 0;

  /** A meter without images. */
  constructor(tokenizer: ImageTokenizer) {
    const { patchNums } = tokenizer;
    const [codes, c] = tokenizer.codebook.shape;
    const bands = bandCount(patchNums[patchNums.length - 1]);
    this.#tokenizer = tokenizer;
    this.#noise = Array.from({ length: bands }, () => new Float64Array(c * c));
    this.#samples = new Float64Array(bands);
    this.#counts = patchNums.map(() => new Float64Array(codes));
    this.#scaleOf = patchNums.flatMap((pn, s) => new Array<number>(pn * pn).fill(s));
  }

  /**
   * Adds images[batch, size, size, 3] in the tokenizer's value range, which its decoder made of `tokens`, each
   * [tokenCount]. `target` is f_Z of the tokens, [batch, h, w, c].
   */
  async add(images: Tensor, target: Tensor, tokens: readonly Int32Array[]): Promise<void> {
    const c = this.#tokenizer.codebook.shape[1];
    const [batch, side] = target.shape;
    const measured = scope(() => {
      const { latent, f } = invert(this.#tokenizer, images, true);
      const error = sub(latent, target);
      const basis = fromArray(f.device, cosines(side), [side, side]);
      const spectrum = byFrequency(basis, error);
      return {
        products: matmul(spectrum, spectrum, { transA: true }),
        refined: mean(square(error).reshape(1, -1), 1),
        plain: mean(square(sub(f, target)).reshape(1, -1), 1),
      };
    });
    const [products, [refined], [plain]] = await Promise.all(
      [measured.products.data(), measured.refined.data(), measured.plain.data()],
    );
    disposeAll(measured);
    products.forEach((value, i) => {
      const w = Math.floor(i / (c * c));
      this.#noise[bandOf(Math.floor(w / side), w % side)][i % (c * c)] += value;
    });
    for (let w = 0; w < side * side; w++) this.#samples[bandOf(Math.floor(w / side), w % side)] += batch;
    for (const ids of tokens) ids.forEach((token, i) => this.#counts[this.#scaleOf[i]][token]++);
    this.#images += batch;
    this.#refined += batch * refined;
    this.#plain += batch * plain;
  }

  /** Mean squared errors per value so far: of the latents that are refined (`invert`), and of the encoder's own. */
  get errors(): { readonly refined: number; readonly plain: number } {
    return { refined: this.#refined / this.#images, plain: this.#plain / this.#images };
  }

  /**
   * The statistics of the images so far. With `shrink`, covariances of few samples are drawn towards white noise of their
   * size, by a share c / (c + samples).
   */
  statistics({ shrink = false } = {}): LatentStatistics {
    const c = this.#tokenizer.codebook.shape[1];
    const floor = leastVariance * this.#noise.reduce((sum, products) => sum + trace(products, c), 0) /
      (c * this.#samples.reduce((a, b) => a + b));
    const covariances = this.#noise.map((products, band) => {
      const samples = this.#samples[band];
      const share = shrink ? c / (c + samples) : 0;
      return covariance(products, c, { samples, floor: Math.max(floor, 1e-12), share });
    });
    return {
      noise: Float32Array.from(covariances.flatMap((values) => [...values])),
      prior: codePriors(this.#counts),
    };
  }
}

/** The symmetric mean of products [c, c] over samples, with `floor` added to the diagonal, drawn to its mean by `share`. */
function covariance(
  products: Float64Array,
  c: number,
  { samples, floor, share }: { readonly samples: number; readonly floor: number; readonly share: number },
): Float32Array<ArrayBuffer> {
  const white = trace(products, c) / (c * samples);
  return Float32Array.from(products, (_, i) => {
    const row = Math.floor(i / c), column = i % c;
    const both = (products[row * c + column] + products[column * c + row]) / 2 / samples;
    return (1 - share) * both + (row === column ? share * white + floor : 0);
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
