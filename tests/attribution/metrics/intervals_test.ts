/** Exact intervals against scipy 1.17, and the bootstrap over clusters. */
import assert from "node:assert/strict";
import { clopperPearson, clusteredRate, clusterIntervals } from "../../../attribution/metrics/mod.ts";
import { incompleteBeta } from "../../../attribution/metrics/proportion.ts";
import { near } from "./near.ts";

Deno.test("clopperPearson() has the bounds of scipy.stats.binomtest", () => {
  const cases: [number, number, number, number][] = [
    [0, 60, 0, 0.05962949228633472],
    [3, 330, 0.0018787020919326751, 0.026336222461717938],
    [17, 20, 0.6210731734547044, 0.9679290628144552],
    [1, 1, 0.025, 1],
    [5, 5000, 0.0003247744747778133, 0.002332110591155391],
    [1.5, 20, 0.005449032581426599, 0.28385325730425237], // quantiles of scipy.stats.beta
  ];
  for (const [hits, trials, low, high] of cases) {
    const interval = clopperPearson(hits, trials);
    near(interval.low, low, 1e-10);
    near(interval.high, high, 1e-10);
  }
  assert.ok(clopperPearson(3, 330, 0.99).high > clopperPearson(3, 330).high);
  assert.throws(() => clopperPearson(2, 1), /expected 0 to 1 hits of at least one trial, got 2/);
  assert.throws(() => clopperPearson(0, 0), /at least one trial/);
});

Deno.test("incompleteBeta() has the values of scipy.special.betainc", () => {
  near(incompleteBeta(0.3, 2, 5), 0.579825);
  near(incompleteBeta(0.5, 30, 40.5), 0.8962305827982711, 1e-11);
  near(incompleteBeta(0.01, 0.5, 0.5), 0.06376856085851985);
  near(incompleteBeta(0.999, 900, 2), 0.7721345828358882, 1e-11);
  assert.deepEqual([incompleteBeta(0, 1, 1), incompleteBeta(1, 1, 1)], [0, 1]);
});

Deno.test("clusteredRate() counts clusters, not items", () => {
  const alone = clusteredRate(new Array(60).fill(false), Array.from({ length: 60 }, (_, i) => `${i}`))!;
  near(alone.interval.high, 0.05962949228633472, 1e-10);
  // 60 crops of 20 pictures say as much as 20 pictures.
  const crops = clusteredRate(new Array(60).fill(false), Array.from({ length: 60 }, (_, i) => `${i % 20}`))!;
  near(crops.interval.high, clopperPearson(0, 20).high);
  // Sizes 3 and 1: 16 / 10 trials.
  const unequal = clusteredRate([true, false, false, false], ["a", "a", "a", "b"])!;
  assert.equal(unequal.value, 0.25);
  near(unequal.interval.high, clopperPearson(0.4, 1.6).high);
  assert.equal(clusteredRate([], []), null);
  assert.throws(() => clusteredRate([true], []), /expected a cluster per item, got 0 for 1 items/);
});

Deno.test("clusterIntervals() draws pictures, so that copies of a picture do not narrow an interval", () => {
  const values = Array.from({ length: 40 }, (_, i) => (i * 7 % 40) / 40);
  const mean = (repeats: number) => (counts: Uint32Array) => {
    let sum = 0, total = 0;
    counts.forEach((count, i) => {
      sum += count * values[Math.floor(i / repeats)];
      total += count;
    });
    return sum / total;
  };
  const items = (repeats: number, isTogether: boolean) =>
    Array.from({ length: 40 * repeats }, (_, i) => ({
      stratum: "outlier",
      cluster: `${isTogether ? Math.floor(i / repeats) : i}`,
    }));
  const width = (repeats: number, isTogether: boolean) => {
    const { mean: interval } = clusterIntervals(items(repeats, isTogether), { mean: mean(repeats) });
    return interval!.high - interval!.low;
  };
  const single = width(1, true);
  near(width(4, true), single); // the same pictures are drawn
  near(width(4, false) / single, 1 / 2, 0.06);
  near(single, 2 * 1.96 * Math.sqrt((40 ** 2 - 1) / 12) / 40 / Math.sqrt(40), 0.02);
});

Deno.test("clusterIntervals() keeps the number of clusters per stratum, and leaves out samples without a value", () => {
  const items = ["a", "a", "b"].map((stratum, i) => ({ stratum, cluster: `${i}` }));
  const { total, b, seen, never } = clusterIntervals(items, {
    total: (counts) => counts.reduce((sum, count) => sum + count, 0),
    b: (counts) => counts[2],
    seen: ([first]) => first === 0 ? null : 1,
    never: () => null,
  }, { resamples: 50 });
  assert.deepEqual([total, b, seen, never], [{ low: 3, high: 3 }, { low: 1, high: 1 }, { low: 1, high: 1 }, null]);
});
