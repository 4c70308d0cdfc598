/**
 * Bootstrap over clusters: items that hang together, such as several crops of one photograph, are drawn together.
 * Intervals of a bootstrap over single items would be too narrow.
 */
import { type BootstrapOptions, drawSamples, type Interval, percentileInterval } from "./bootstrap.ts";

/** Where an item belongs. */
export interface ClusteredItem {
  /** Clusters of a stratum are drawn among themselves, so that their number stays fixed: the true label. */
  readonly stratum: string;
  /** Items of one cluster are drawn together: the id of the picture. Within the stratum. */
  readonly cluster: string;
}

/** A statistic of the items when each counts as often as a sample draws it; null if it is not defined. */
export type CountedStatistic = (counts: Uint32Array) => number | null;

/**
 * Percentile intervals of statistics over bootstrap samples of clusters, drawn with replacement within each stratum.
 * All statistics share the samples. Samples in which a statistic is null do not count for it; its interval is null if
 * there are no others. The same seed gives the same samples.
 */
export function clusterIntervals<Name extends string>(
  items: readonly ClusteredItem[],
  statistics: Readonly<Record<Name, CountedStatistic>>,
  options: BootstrapOptions = {},
): Record<Name, Interval | null> {
  const strata = [...Map.groupBy(items.keys(), (i) => items[i].stratum).values()]
    .map((members) => [...Map.groupBy(members, (i) => items[i].cluster).values()]);
  const names = Object.keys(statistics) as Name[];
  const values = Object.fromEntries(names.map((name) => [name, [] as number[]])) as Record<Name, number[]>;
  const { count, level, indices } = drawSamples(strata.map((clusters) => clusters.length), options);
  const counts = new Uint32Array(items.length);
  for (let n = 0, drawn = 0; n < count; n++) {
    counts.fill(0);
    for (const clusters of strata) {
      for (let i = 0; i < clusters.length; i++) {
        for (const item of clusters[indices[drawn]]) counts[item]++;
        drawn++;
      }
    }
    for (const name of names) {
      const value = statistics[name](counts);
      if (value !== null) values[name].push(value);
    }
  }
  return Object.fromEntries(names.map((name) => [name, percentileInterval(values[name], level)])) as Record<
    Name,
    Interval | null
  >;
}
