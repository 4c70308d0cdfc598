/** Calibrated classifiers against the best possible one, and temperatures against known ones. */
import assert from "node:assert/strict";
import {
  fitClassifier,
  fitTemperature,
  meanLoss,
  stratifiedFolds,
} from "../../../attribution/calibration/fit_classifier.ts";
import { classify, softmax } from "../../../attribution/decision/classifiers/logistic.ts";
import { normals, uniforms } from "../../../core/tensor/mod.ts";
import { groups } from "./groups.ts";

const near = (a: number, b: number, tolerance: number) => assert.ok(Math.abs(a - b) <= tolerance, `${a} and ${b}`);

Deno.test("fitClassifier() comes close to the best possible classifier, and its probabilities are frequencies", () => {
  const { rows, y } = groups(600, 2), fresh = groups(6000, 3);
  const classifier = fitClassifier(rows, y, 3);
  // Bayes: equal groups, identity covariance; log-odds are linear with means (1.5, 0), (0, 1.5), (0, 0).
  const bayes = ([a, b]: number[]) => softmax([1.5 * a - 1.125, 1.5 * b / 100 - 1.125, 0]);
  const loss = (p: (row: number[]) => number[]) =>
    fresh.rows.reduce((sum, row, i) => sum - Math.log(p(row)[fresh.y[i]]), 0) / fresh.rows.length;
  const own = loss((row) => classify(classifier, row)), best = loss(bayes);
  assert.ok(own < best + 0.02, `${own}, at best ${best}`);
  const confident = fresh.rows.map((row, i) => ({ p: classify(classifier, row), y: fresh.y[i] }))
    .flatMap(({ p, y }) =>
      [Math.max(...p) > 0.7 ? { p: Math.max(...p), right: p.indexOf(Math.max(...p)) === y } : []].flat()
    );
  const mean = confident.reduce((sum, { p }) => sum + p, 0) / confident.length;
  const right = confident.filter(({ right }) => right).length / confident.length;
  near(mean, right, 0.03);
});

Deno.test("fitClassifier() is deterministic, and shrinks more where columns tell nothing", () => {
  const { rows, y } = groups(120, 4);
  assert.deepEqual(fitClassifier(rows, y, 3), fitClassifier(rows, y, 3));
  const blind = rows.map((_, i) => Array.from(normals(5, i, 30)));
  const found = fitClassifier(blind, y, 3);
  assert.ok(found.l2 >= 0.1, `${found.l2}`);
  assert.ok(meanLoss(found.crossFitted, y, found.temperature) < Math.log(3) + 0.03);
});

Deno.test("fitTemperature() undoes a factor on the log-odds", () => {
  const draws = uniforms(6, 0, 3000);
  const odds = Array.from({ length: 3000 }, (_, i) => Array.from(normals(7, i, 3), (x) => 2 * x));
  const y = odds.map((row, i) => {
    const [a, b] = softmax(row);
    return draws[i] < a ? 0 : draws[i] < a + b ? 1 : 2;
  });
  const temperature = fitTemperature(odds, y);
  near(temperature, 1, 0.08);
  near(fitTemperature(odds.map((row) => row.map((x) => 4 * x)), y), 4 * temperature, 1e-4);
});

Deno.test("stratifiedFolds() gives every fold as many rows of each class as it can", () => {
  assert.deepEqual(stratifiedFolds([0, 0, 1, 0, 1, 0, 1], 2), [0, 1, 0, 0, 1, 1, 0]);
});
