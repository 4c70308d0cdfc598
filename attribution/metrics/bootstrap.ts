/**
 * Percentile bootstrap intervals (Efron 1979): the spread of a statistic over samples that are drawn, with replacement,
 * from the data. Each group is resampled separately, so that group sizes stay fixed. The same seed gives the same
 * samples.
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
  /** Number of samples. Default 1000. */
  readonly resamples?: number;
  /**
   * Share of the statistics inside the interval, between 0 and 1; the rest lies equally on both sides. Default 0.95.
   */
  readonly level?: number;
  /** An integer of 0 to 2^53 - 1; the same seed gives the same interval. Default 0. */
  readonly seed?: number;
}

/** The random stream of this file: "boot". */
const stream = 0x626f6f74;

/** The items of each sample. Drawing them once lets many statistics share the samples. */
export interface Samples {
  /** Items of each group. */
  readonly sizes: readonly number[];
  /** Number of samples. */
  readonly count: number;
  /** Share of the statistics inside an interval. */
  readonly level: number;
  /** Sample after sample, and group after group within each: the index of every drawn item within its group. */
  readonly indices: Uint32Array;
}

/** Draws samples of groups of the given sizes. Throws a RangeError on a level that is not between 0 and 1. */
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
 * The interval of a statistic over bootstrap samples of the groups. Samples whose statistic is null do not count.
 * Returns null without groups, with an empty group, or if every statistic is null.
 *
 * The interval is too narrow with few items, and for a statistic at the end of its range: an accuracy of 1 gives [1,
 * 1].
 */
export function bootstrapInterval<T>(
  groups: readonly (readonly T[])[],
  statistic: (sample: readonly (readonly T[])[]) => number | null,
  options: BootstrapOptions = {},
): Interval | null {
  const { count, level, indices } = drawSamples(groups.map((group) => group.length), options);
  if (groups.length === 0 || groups.some((group) => group.length === 0)) return null;
  const sample = groups.map((group) => Array.from(group));
  const values: number[] = [];
  for (let n = 0, drawn = 0; n < count; n++) {
    groups.forEach((group, g) => {
      for (let i = 0; i < group.length; i++, drawn++) sample[g][i] = group[indices[drawn]];
    });
    const value = statistic(sample);
    if (value !== null) values.push(value);
  }
  return percentileInterval(values, level);
}

/** The interval that holds the middle share `level` (0 to 1) of the values; null without values. */
export function percentileInterval(values: ArrayLike<number>, level: number): Interval | null {
  if (values.length === 0) return null;
  return { low: quantile(values, (1 - level) / 2), high: quantile(values, (1 + level) / 2) };
}
