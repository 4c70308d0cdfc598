/** Exact intervals of a rate, which have a width even where no error was seen. */
import type { Interval } from "./bootstrap.ts";

/**
 * The Clopper-Pearson interval of a rate of `hits` among `trials`: it contains the true rate with at least the
 * probability `level` (0 to 1). Numbers need not be whole (see clusteredRate()). Throws a RangeError unless 0 <= hits
 * <= trials and trials > 0.
 *
 * Source: Clopper and Pearson (1934), as quantiles of beta distributions.
 */
export function clopperPearson(hits: number, trials: number, level = 0.95): Interval {
  if (!(trials > 0 && hits >= 0 && hits <= trials)) {
    throw new RangeError(`clopperPearson: expected 0 to ${trials} hits of at least one trial, got ${hits}`);
  }
  if (!(level > 0 && level < 1)) throw new RangeError(`clopperPearson: expected a level between 0 and 1, got ${level}`);
  const tail = (1 - level) / 2;
  return {
    low: hits === 0 ? 0 : betaQuantile(tail, hits, trials - hits + 1),
    high: hits === trials ? 1 : betaQuantile(1 - tail, hits + 1, trials - hits),
  };
}

/** A rate with its interval. */
export interface Rate {
  /** Share of hits, 0 to 1. */
  readonly value: number;
  /** See clusteredRate(). */
  readonly interval: Interval;
}

/**
 * The rate of hits among items that come in clusters, such as several crops of one picture, with the Clopper-Pearson
 * interval of as many trials as there are clusters: as if all items of a cluster had one fate. Clusters of unequal size
 * count as (sum of sizes)^2 / sum of squared sizes trials (Kish 1965). It is safe for rates near 0, where a bootstrap
 * interval has no width; for items that are less alike it is too wide. Null without items.
 */
export function clusteredRate(hits: readonly boolean[], clusters: readonly string[], level = 0.95): Rate | null {
  if (hits.length !== clusters.length) {
    throw new RangeError(`clusteredRate: expected a cluster per item, got ${clusters.length} for ${hits.length} items`);
  }
  if (hits.length === 0) return null;
  const sizes = new Map<string, number>();
  for (const cluster of clusters) sizes.set(cluster, (sizes.get(cluster) ?? 0) + 1);
  const squares = sizes.values().reduce((sum, size) => sum + size ** 2, 0);
  const trials = hits.length ** 2 / squares;
  const value = hits.filter(Boolean).length / hits.length;
  return { value, interval: clopperPearson(value * trials, trials, level) };
}

/** The x at which incompleteBeta(x, a, b) is p, by bisection. */
function betaQuantile(p: number, a: number, b: number): number {
  let low = 0, high = 1;
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2;
    if (incompleteBeta(middle, a, b) < p) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

/**
 * The regularised incomplete beta function I_x(a, b), for x of 0 to 1 and positive a and b.
 *
 * Source: continued fraction 26.5.8 of Abramowitz and Stegun, evaluated by the method of Lentz (1976).
 */
export function incompleteBeta(x: number, a: number, b: number): number {
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  // The fraction converges fast on this side; the other is its mirror image.
  if (x > (a + 1) / (a + b + 2)) return 1 - incompleteBeta(1 - x, b, a);
  const front = Math.exp(a * Math.log(x) + b * Math.log1p(-x) + logGamma(a + b) - logGamma(a) - logGamma(b)) / a;
  const tiny = 1e-300;
  let c = 1, d = 1 / nonZero(1 - (a + b) * x / (a + 1)), fraction = d;
  for (let m = 1; m <= 1000; m++) {
    const even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
    const odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
    let step = 1;
    for (const term of [even, odd]) {
      d = 1 / nonZero(1 + term * d);
      c = nonZero(1 + term / c);
      step = c * d;
      fraction *= step;
    }
    if (Math.abs(step - 1) < 1e-15) break;
  }
  return front * fraction;

  function nonZero(value: number): number {
    return Math.abs(value) < tiny ? tiny : value;
  }
}

/** Logarithm of the gamma function of a positive number: Stirling's series above 10, the recurrence below. */
function logGamma(x: number): number {
  let shift = 0;
  for (; x < 10; x++) shift -= Math.log(x);
  const inverse = 1 / x, square = inverse ** 2;
  const series = inverse * (1 / 12 - square * (1 / 360 - square * (1 / 1260 - square * (1 / 1680 - square / 1188))));
  return shift + (x - 0.5) * Math.log(x) - x + Math.log(2 * Math.PI) / 2 + series;
}
