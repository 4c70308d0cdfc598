/**
 * Percentile bootstrap intervals (Efron 1979): how far a statistic moves when the sample is drawn again from itself.
 * Groups are drawn from separately, so that their sizes stay as they are. Numbers come by counter from the seed.
 */
import { philox } from "../../core/tensor/mod.ts";
import { quantile } from "./quantile.ts";

/** An interval of a statistic. */
export interface Interval {
  /** Lower end. */
  readonly low: number;
  /** Upper end. */
  readonly high: number;
}

/** How samples are drawn. */
export interface BootstrapOptions {
  /** How many samples are drawn. Default 1000. */
  readonly resamples?: number;
  /** Share of the samples' statistics inside the interval, half of the rest on each side. Default 0.95. */
  readonly level?: number;
  /** An integer of 0 to 2^53 - 1; the same seed gives the same interval. Default 0. */
  readonly seed?: number;
}

/** A stream of random numbers for this file alone: "boot". */
const stream = 0x626f6f74;

/** Which items make up each sample: `indices` holds, sample after sample, the items drawn from each group in turn. */
export interface Samples {
  /** Items of each group. */
  readonly sizes: readonly number[];
  /** Number of samples. */
  readonly count: number;
  /** Share of the statistics inside an interval. */
  readonly level: number;
  /** Numbers of items, counted within their group. */
  readonly indices: Uint32Array;
}

/** Draws samples of groups of the given sizes, with replacement. Throws on a level that is not between 0 and 1. */
export function drawSamples(
  sizes: readonly number[],
  { resamples = 1000, level = 0.95, seed = 0 }: BootstrapOptions = {},
): Samples {
  if (!(level > 0 && level < 1)) throw new RangeError(`bootstrap: expected a level between 0 and 1, got ${level}`);
  const indices = new Uint32Array(resamples * sizes.reduce((total, size) => total + size, 0));
  const words = new Uint32Array(4);
  for (let n = 0, drawn = 0; n < resamples; n++) {
    for (const size of sizes) {
      for (let i = 0; i < size; i++, drawn++) {
        if (drawn % 4 === 0) philox(seed, stream, drawn / 4, words);
        indices[drawn] = Math.floor(words[drawn % 4] / 2 ** 32 * size);
      }
    }
  }
  return { sizes, count: resamples, level, indices };
}

/**
 * The interval of `statistic` over samples of the same size, drawn with replacement from each group. Samples for which the
 * statistic is null do not count; null when there is no group, one is empty, or every statistic is null.
 *
 * With few items, or with a statistic at the end of its range (no error at all), the interval is too narrow: a rate of 1
 * gives [1, 1].
 */
export function bootstrapInterval<T>(
  groups: readonly (readonly T[])[],
  statistic: (sample: readonly (readonly T[])[]) => number | null,
  options: BootstrapOptions = {},
): Interval | null {
  const { count, level, indices } = drawSamples(groups.map((group) => group.length), options);
  if (groups.length === 0 || groups.some((group) => group.length === 0)) return null;
  const sample = groups.map((group) => Array.from(group));
  const found: number[] = [];
  for (let n = 0, drawn = 0; n < count; n++) {
    groups.forEach((group, g) => {
      for (let i = 0; i < group.length; i++, drawn++) sample[g][i] = group[indices[drawn]];
    });
    const value = statistic(sample);
    if (value !== null) found.push(value);
  }
  return percentileInterval(found, level);
}

/** The middle `level` of values; null without any. */
export function percentileInterval(values: ArrayLike<number>, level: number): Interval | null {
  if (values.length === 0) return null;
  return { low: quantile(values, (1 - level) / 2), high: quantile(values, (1 + level) / 2) };
}
