// The quality of an earlier JPEG compression by the gaps that quantisation leaves in the histograms of coefficients.

import { libjpegLuma } from "./jpeg_tables.ts";

/** A quality, and how much likelier the coefficients are under it than without compression. */
export interface GapFit {
  readonly quality: number;
  /** Logarithm of the likelihood ratio, in nats. */
  readonly support: number;
}

/**
 * The likeliest quality of `qualities` (1 to 100) with libjpeg's luma tables. `coefficients` are by frequency, a number
 * per block; `deviations` is the standard deviation that rounding after the compression adds to each frequency.
 *
 * Without compression the coefficients of a frequency have a Laplace distribution. With it, each lies around a multiple
 * of the step; the multiples have the probabilities that the same distribution gives them (Lam and Goodman, A
 * mathematical analysis of the DCT coefficient distributions for images, 2000; Fan and de Queiroz, Identification of
 * bitmap compression history, 2003). The frequency 0 is left out: it has no common distribution.
 */
export function fitQuality(
  coefficients: readonly Float64Array[],
  deviations: ArrayLike<number>,
  qualities: readonly number[],
): GapFit {
  const frequencies = coefficients.map((values, i) => new Frequency(values, deviations[i]));
  let best: GapFit = { quality: 100, support: 0 };
  for (const quality of qualities) {
    const table = libjpegLuma[quality - 1];
    let support = 0;
    for (let i = 1; i < 64; i++) support += frequencies[i].support(table[i]);
    if (support > best.support) best = { quality, support };
  }
  return best;
}

/** The share of coefficients that may lie anywhere: of blocks with clipping, or with something drawn over them. */
const outlierShare = 0.02;

/** Scales of the Laplace distribution that are tried, as shares of the mean magnitude. */
const scaleShares = [0.35, 0.5, 0.65, 0.8, 0.9, 1];

/** The coefficients of one frequency. */
class Frequency {
  /** Mean magnitude before rounding. */
  readonly #scale: number = 0;
  /**
   * Logarithm of each coefficient's density without compression: under a Laplace distribution, or a normal one if that
   * is likelier. The choice favours the verdict "no compression".
   */
  readonly #density: Float64Array;
  readonly #supports = new Map<number, number>();

  constructor(readonly values: Float64Array, readonly deviation: number) {
    let sum = 0, squares = 0;
    for (const value of values) {
      sum += Math.abs(value);
      squares += value * value;
    }
    const mean = sum / values.length, variance = Math.max(squares / values.length, deviation ** 2);
    const flat = -0.5 * Math.log(2 * Math.PI * variance);
    this.#density = values.map((value) => flat - 0.5 * value * value / variance);
    let most = this.#density.reduce((a, b) => a + b, 0), likeliest = -Infinity;
    for (const share of scaleShares) {
      const scale = share * mean;
      if (!(scale > 0.05 * deviation)) continue;
      const density = values.map((value) => Math.log(smoothLaplace(Math.abs(value), scale, deviation)));
      const likelihood = density.reduce((a, b) => a + b, 0);
      if (likelihood > likeliest) [this.#scale, likeliest] = [scale, likelihood];
      if (likelihood > most) [this.#density, most] = [density, likelihood];
    }
  }

  /** Logarithm of the likelihood ratio of multiples of `step` against no steps. */
  support(step: number): number {
    if (step === 1 || this.#scale === 0) return 0;
    let support = this.#supports.get(step);
    if (support === undefined) this.#supports.set(step, support = this.#computeSupport(step));
    return support;
  }

  #computeSupport(step: number): number {
    const { values, deviation } = this, density = this.#density, decay = step / this.#scale;
    // A Laplace variable is nearest to the multiple 0, or to plus or minus the first one, with these probabilities.
    const peak = Math.log((1 - outlierShare) / (deviation * Math.sqrt(2 * Math.PI)));
    const zero = peak + Math.log(1 - Math.exp(-0.5 * decay));
    const other = peak + Math.log(0.5) + 0.5 * decay + Math.log(1 - Math.exp(-decay));
    let support = 0, product = 1;
    for (let i = 0; i < values.length; i++) {
      const magnitude = Math.abs(values[i]), multiple = Math.round(magnitude / step);
      const distance = (magnitude - multiple * step) / deviation;
      const gaps = multiple === 0 ? zero : other - multiple * decay;
      product *= Math.exp(gaps - 0.5 * distance * distance - density[i]) + outlierShare;
      if ((i & 7) === 7) { // a logarithm for 8 factors
        support += Math.log(product);
        product = 1;
      }
    }
    return support + Math.log(product);
  }
}

/** Density at `value` >= 0 of a Laplace variable with added normal rounding of standard deviation `s`. */
function smoothLaplace(value: number, scale: number, s: number): number {
  const shift = s * s / scale, factor = Math.exp(0.5 * shift / scale) / (2 * scale);
  if (value > shift + 6 * s) return factor * Math.exp(-value / scale) + Number.MIN_VALUE;
  return factor *
    (Math.exp(-value / scale) * tail((shift - value) / s) + Math.exp(value / scale) * tail((shift + value) / s));
}

/** Coefficients of a polynomial (Numerical Recipes, erfcc). */
const erfcTerms = [
  ...[-1.26551223, 1.00002368, 0.37409196, 0.09678418, -0.18628806],
  ...[0.27886807, -1.13520398, 1.48851587, -0.82215223, 0.17087277],
];

/** Probability that a standard normal variable is above `z`, with a relative error below 1.2e-7. */
function tail(z: number): number {
  const x = Math.abs(z) / Math.SQRT2, t = 1 / (1 + 0.5 * x);
  let polynomial = 0;
  for (let i = erfcTerms.length - 1; i >= 0; i--) polynomial = polynomial * t + erfcTerms[i];
  const value = 0.5 * t * Math.exp(-x * x + polynomial);
  return z >= 0 ? value : 1 - value;
}
