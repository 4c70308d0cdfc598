/** Isotonic regression against hand-made cases and against the optimum's own conditions. */
import assert from "node:assert/strict";
import { isotonicSteps, pav } from "../../../attribution/metrics/mod.ts";
import { near } from "./near.ts";

Deno.test("pav() pools neighbours that violate the order", () => {
  assert.deepEqual([...pav([1, 2, 3, 4], [0, 1, 0, 1])], [0, 0.5, 0.5, 1]);
  // The order of the items does not matter, the results follow it.
  assert.deepEqual([...pav([4, 3, 2, 1], [1, 0, 1, 0])], [1, 0.5, 0.5, 0]);
  assert.deepEqual([...pav([1, 2, 3], [3, 2, 1])], [2, 2, 2]);
  assert.deepEqual([...pav([1, 2], [0, 1])], [0, 1]);
  assert.deepEqual([...pav([], [])], []);
});

Deno.test("equal scores have equal values, and weights count", () => {
  assert.deepEqual([...pav([1, 1, 2], [0, 1, 1])], [0.5, 0.5, 1]);
  // Ties are pooled before anything else: 0.4 and 0.5 are in order.
  assert.deepEqual([...pav([1, 2, 2], [0.4, 0, 1])], [0.4, 0.5, 0.5]);
  assert.deepEqual([...pav([1, 2], [1, 0], [3, 1])], [0.75, 0.75]);
  assert.deepEqual([...pav([0, 1, 2, 3], [9, 0, 1, 0], [0, 1, 1, 0])], [0, 0, 1, 1]);
  assert.deepEqual(isotonicSteps([1, 1, 2, 5], [0, 1, 1, 1]), [
    { low: 1, high: 1, value: 0.5, weight: 2 },
    { low: 2, high: 5, value: 1, weight: 2 },
  ]);
});

Deno.test("values rise strictly from step to step, and each is the mean of its targets", () => {
  let state = 1;
  const random = () => (state = state * 16807 % 2147483647) / 2147483647;
  const scores = Array.from({ length: 200 }, () => Math.floor(random() * 60));
  const targets = scores.map((score) => random() < score / 60 ? 1 : 0);
  const steps = isotonicSteps(scores, targets), fitted = pav(scores, targets);
  steps.forEach(({ low, high, value, weight }, i) => {
    if (i > 0) assert.ok(low > steps[i - 1].high && value > steps[i - 1].value);
    const inside = targets.filter((_, j) => scores[j] >= low && scores[j] <= high);
    assert.equal(inside.length, weight);
    near(value, inside.reduce<number>((a, b) => a + b, 0) / weight);
    // No split of the step would rise: the mean up to any score is at least the step's.
    for (let at = low; at < high; at++) {
      const first = targets.filter((_, j) => scores[j] >= low && scores[j] <= at);
      if (first.length > 0) assert.ok(first.reduce<number>((a, b) => a + b, 0) / first.length >= value - 1e-12);
    }
  });
  scores.forEach((score, i) => {
    assert.equal(fitted[i], steps.find(({ low, high }) => low <= score && score <= high)!.value);
  });
});

Deno.test("lists of different length, and what is no number, are refused", () => {
  assert.throws(() => pav([1], []), /expected lists of one length, got 1 scores, 0 targets/);
  assert.throws(() => pav([NaN], [1]), /expected numbers, got NaN with target 1/);
  assert.throws(() => pav([1], [1], [-1]), /expected weights of at least 0, got -1/);
});
