/** Metrics against computations that share no code with them, and against hand-made examples. */
import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import {
  accuracy,
  accuracyAtHalf,
  auc,
  balancedAccuracy,
  bootstrapInterval,
  bootstrapRoc,
  confusionMatrix,
  drawSamples,
  meanAndDeviation,
  precision,
  quantile,
  recall,
  rocCurve,
  scaleAndOrder,
  tprAtFpr,
} from "../../../attribution/metrics/mod.ts";
import { normals } from "../../../core/tensor/mod.ts";

/** Scores with ties, none of them negative: a few distinct values, or any. */
const scores = fc.array(fc.oneof(fc.integer({ min: 0, max: 5 }), fc.double({ min: 0, max: 10, noNaN: true })), {
  minLength: 1,
  maxLength: 30,
});

Deno.test("auc() is the share of pairs in the right order, ties counting half", () => {
  fc.assert(fc.property(scores, scores, fc.boolean(), (members, nonmembers, membersLower) => {
    const scaled = scaleAndOrder(members, nonmembers, membersLower);
    let wins = 0;
    for (const m of scaled.members) for (const n of scaled.nonmembers) wins += m > n ? 1 : m === n ? 0.5 : 0;
    const expected = wins / (members.length * nonmembers.length);
    assert.ok(Math.abs(auc(members, nonmembers, { membersLower }) - expected) < 1e-12);
  }));
});

Deno.test("tprAtFpr() is the best rate of any threshold that keeps false alarms below the limit", () => {
  fc.assert(fc.property(scores, scores, fc.constantFrom(0, 0.01, 0.1, 0.5, 1), (members, nonmembers, maxFpr) => {
    const scaled = scaleAndOrder(members, nonmembers, true);
    let best = 0;
    for (const threshold of [...scaled.members, ...scaled.nonmembers]) {
      const accepted = (group: Float64Array) => group.filter((score) => score >= threshold).length / group.length;
      if (accepted(scaled.nonmembers) <= maxFpr) best = Math.max(best, accepted(scaled.members));
    }
    const found = tprAtFpr(members, nonmembers, maxFpr);
    // A dropped point lies on a straight stretch; where that is slanted (ties), the kept point before it is lower.
    assert.ok(found <= best + 1e-12);
    const slanted = rocCurve(members, nonmembers);
    const steps = slanted.fpr.slice(1).some((x, i) => x > slanted.fpr[i] && slanted.tpr[i + 1] > slanted.tpr[i]);
    if (!steps) assert.ok(Math.abs(found - best) < 1e-12, `${found} and ${best}`);
  }));
});

Deno.test("rocCurve() rises from (0, 0) to (1, 1), and each point holds what its threshold accepts", () => {
  fc.assert(fc.property(scores, scores, (members, nonmembers) => {
    const { fpr, tpr, thresholds } = rocCurve(members, nonmembers);
    const scaled = scaleAndOrder(members, nonmembers);
    assert.deepEqual([fpr[0], tpr[0], fpr.at(-1), tpr.at(-1)], [0, 0, 1, 1]);
    thresholds.forEach((threshold, i) => {
      const accepted = (group: Float64Array) => group.filter((score) => score >= threshold).length / group.length;
      assert.deepEqual([fpr[i], tpr[i]], [accepted(scaled.nonmembers), accepted(scaled.members)]);
      if (i > 0) assert.ok(fpr[i] >= fpr[i - 1] && tpr[i] >= tpr[i - 1] && threshold < thresholds[i - 1]);
    });
  }));
});

Deno.test("accuracyAtHalf() counts scores on their side of 0.5", () => {
  // Scaled by 10 and turned around: 0.9, 0.5 | 0, 0.4. The member at exactly 0.5 is not above it.
  assert.equal(accuracyAtHalf([1, 5], [10, 6]), 3 / 4);
  assert.equal(accuracyAtHalf([10, 6], [1, 5], { membersLower: false }), 4 / 4);
});

Deno.test("metrics of scores refuse empty groups, numbers that are none, and rates out of range", () => {
  assert.throws(() => auc([], [1]), /expected at least one score of members, got none/);
  assert.throws(() => auc([1], []), /expected at least one score of nonmembers, got none/);
  assert.throws(() => rocCurve([1], [NaN]), /expected finite scores, got NaN among the nonmembers/);
  assert.throws(() => tprAtFpr([1], [2], 1.5), /expected a rate of 0 to 1, got 1\.5/);
});

Deno.test("confusion matrices and their rates, counted by hand", () => {
  const actual = ["a", "a", "a", "b", "b", "c"], predicted = ["a", "a", "b", "b", "c", "c"];
  const matrix = confusionMatrix(actual, predicted, ["a", "b", "c", "d"]);
  assert.deepEqual(matrix.counts, [[2, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0]]);
  assert.equal(accuracy(matrix), 4 / 6);
  assert.equal(recall(matrix, "a"), 2 / 3);
  assert.equal(precision(matrix, "a"), 1);
  assert.equal(precision(matrix, "b"), 1 / 2);
  assert.equal(recall(matrix, "d"), null);
  assert.equal(precision(matrix, "d"), null);
  assert.ok(Math.abs(balancedAccuracy(matrix)! - (2 / 3 + 1 / 2 + 1) / 3) < 1e-12);
  assert.equal(accuracy(confusionMatrix([], [], ["a"])), null);
});

Deno.test("confusionMatrix() refuses labels that it was not given, and lists that do not pair up", () => {
  assert.throws(() => confusionMatrix(["a"], ["x"], ["a", "b"]), /expected one of the labels a, b, got x/);
  assert.throws(() => confusionMatrix(["a"], [], ["a"]), /expected as many predictions as true labels, 1, got 0/);
  assert.throws(() => recall(confusionMatrix([], [], ["a"]), "b"), /expected one of the labels a, got b/);
});

Deno.test("quantile() interpolates between ranks as numpy does", () => {
  // numpy.quantile([1, 2, 4, 8], [0, .1, .5, .9, 1])
  assert.deepEqual([0, 0.1, 0.5, 0.9, 1].map((q) => Number(quantile([8, 1, 4, 2], q).toFixed(12))), [
    1,
    1.3,
    3,
    6.8,
    8,
  ]);
  assert.equal(quantile([7], 0.9), 7);
  assert.throws(() => quantile([], 0.5), /expected at least one number/);
  assert.throws(() => quantile([1], 2), /expected a q of 0 to 1, got 2/);
});

Deno.test("meanAndDeviation() divides by n - 1", () => {
  assert.deepEqual(meanAndDeviation([1, 3]), { mean: 2, deviation: Math.SQRT2 });
  assert.throws(() => meanAndDeviation([1]), /expected at least two numbers, got 1/);
});

Deno.test("bootstrapInterval() of a mean is the normal approximation's, within its own noise", () => {
  const values = Array.from(normals(5, 1, 400), (x) => 3 + 2 * x);
  const { mean, deviation } = meanAndDeviation(values);
  const average = ([sample]: readonly (readonly number[])[]) => sample.reduce((a, b) => a + b, 0) / sample.length;
  const found = bootstrapInterval([values], average, { resamples: 4000, seed: 1 })!;
  const half = 1.96 * deviation / Math.sqrt(values.length);
  // The 2.5 % quantile of 4000 samples has a standard error of about 3 % of the half width.
  assert.ok(Math.abs(found.low - (mean - half)) < 0.12 * half, `${found.low}, expected ${mean - half}`);
  assert.ok(Math.abs(found.high - (mean + half)) < 0.12 * half, `${found.high}, expected ${mean + half}`);
  const narrow = bootstrapInterval([values], average, { resamples: 4000, seed: 1, level: 0.5 })!;
  assert.ok(narrow.low > found.low && narrow.high < found.high);
});

Deno.test("bootstrapInterval() keeps the sizes of groups, and gives the same numbers for the same seed", () => {
  const groups = [[1, 2, 3], [10, 20]];
  const sizes = new Set<string>();
  const statistic = (sample: readonly (readonly number[])[]) => {
    sizes.add(sample.map((group) => group.length).join());
    assert.ok(sample[0].every((x) => x < 5) && sample[1].every((x) => x > 5));
    return sample.flat().reduce((a, b) => a + b, 0);
  };
  const first = bootstrapInterval(groups, statistic, { seed: 7 });
  assert.deepEqual([...sizes], ["3,2"]);
  assert.deepEqual(bootstrapInterval(groups, statistic, { seed: 7 }), first);
  assert.notDeepEqual(bootstrapInterval(groups, statistic, { seed: 8, resamples: 5 }), first);
});

Deno.test("bootstrapInterval() has none where there is nothing to draw from, and leaves out samples without a value", () => {
  assert.equal(bootstrapInterval([], () => 1), null);
  assert.equal(bootstrapInterval([[1], []], () => 1), null);
  assert.equal(bootstrapInterval([[1]], () => null), null);
  const found = bootstrapInterval([[0, 1]], ([sample]) => sample[0] === 0 ? null : 4, { resamples: 50 });
  assert.deepEqual(found, { low: 4, high: 4 });
  assert.throws(() => bootstrapInterval([[1]], () => 1, { level: 1 }), /expected a level between 0 and 1, got 1/);
});

/** Scores that stay apart whatever they are divided by, with ties. */
const apart = fc.array(fc.integer({ min: 0, max: 40 }).map((n) => n / 64), { minLength: 1, maxLength: 30 });

Deno.test("bootstrapRoc() gives the intervals of auc() and tprAtFpr() on the same samples", () => {
  fc.assert(
    fc.property(
      apart,
      apart,
      fc.constantFrom(0, 0.1, 0.3),
      fc.boolean(),
      (members, nonmembers, maxFpr, membersLower) => {
        const options = { resamples: 8, seed: 3, level: 0.6 };
        const groups = [members, nonmembers];
        const samples = drawSamples([members.length, nonmembers.length], options);
        const found = bootstrapRoc(members, nonmembers, samples, maxFpr, { membersLower });
        const area = bootstrapInterval(groups, ([a, b]) => auc(a, b, { membersLower }), options)!;
        const rate = bootstrapInterval(groups, ([a, b]) => tprAtFpr(a, b, maxFpr, { membersLower }), options)!;
        for (const [own, expected] of [[found.auc, area], [found.tpr, rate]]) {
          assert.ok(Math.abs(own.low - expected.low) < 1e-9 && Math.abs(own.high - expected.high) < 1e-9);
        }
      },
    ),
  );
  assert.throws(
    () => bootstrapRoc([1, 2], [3], drawSamples([1, 1])),
    /expected samples of 2 and 1 items, got 1 and 1/,
  );
});
