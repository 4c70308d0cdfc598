/** Distances against closed forms and known distributions. */
import assert from "node:assert/strict";
import { fitOneClass } from "../../../attribution/calibration/fit_one_class.ts";
import { oneClassDistance } from "../../../attribution/decision/classifiers/one_class.ts";
import { normals } from "../../../core/tensor/mod.ts";

/** n rows of three normal numbers with correlation 0.8 between the first two. */
function rows(n: number, seed: number): number[][] {
  const noise = normals(seed, 0, 3 * n);
  return Array.from({ length: n }, (_, i) => {
    const [a, b, c] = noise.subarray(3 * i, 3 * i + 3);
    return [5 + 2 * a, -1 + 0.1 * (0.8 * a + 0.6 * b), 100 * c];
  });
}

Deno.test("oneClassDistance() is the Mahalanobis distance: 1 on average, more against the correlation than along it", () => {
  const model = fitOneClass(rows(20_000, 1));
  assert.ok(model.shrinkage === 0.005, `${model.shrinkage}`);
  const fresh = rows(20_000, 2).map((row) => oneClassDistance(model, row));
  const mean = fresh.reduce((a, b) => a + b) / fresh.length;
  assert.ok(Math.abs(mean - 1) < 0.02, `${mean}`);
  // (1, 1) and (1, -1) standard deviations: z'R^-1 z = 2 / (1 + r) and 2 / (1 - r), over three columns.
  const r = 0.8 * (1 - 0.005);
  const at = (sign: number) => oneClassDistance(model, [7, -1 + 0.1 * sign, 0]);
  assert.ok(Math.abs(at(1) - 2 / (1 + r) / 3) < 0.02, `${at(1)}`);
  assert.ok(Math.abs(at(-1) - 2 / (1 - r) / 3) < 0.15, `${at(-1)}`);
});

Deno.test("fitOneClass() shrinks correlations more, the fewer rows there are", () => {
  const shrinkage = [5, 20, 100, 1000].map((n) => fitOneClass(rows(n, 3)).shrinkage);
  assert.ok(shrinkage.every((value, i) => i === 0 || value < shrinkage[i - 1]), `${shrinkage}`);
  assert.ok(shrinkage[0] <= 1 && shrinkage[3] < 0.02);
});

Deno.test("fitOneClass() takes columns that are constant or copies of one another", () => {
  const model = fitOneClass(rows(30, 4).map(([a, b]) => [a, a, 7, b]));
  const usual = oneClassDistance(model, [5, 5, 7, -1]);
  assert.ok(usual < 2);
  assert.ok(oneClassDistance(model, [5, 5, 7.1, -1]) > 1000);
  assert.ok(oneClassDistance(model, [7, 3, 7, -1]) > 3 * oneClassDistance(model, [7, 7, 7, -0.9]));
});

Deno.test("fitOneClass() refuses a single row and numbers that are not finite", () => {
  assert.throws(() => fitOneClass([[1, 2]]), /expected two rows or more, got 1/);
  assert.throws(() => fitOneClass([[1, 2], [NaN, 1]]), /expected finite numbers, got NaN in row 1/);
  assert.throws(() => oneClassDistance(fitOneClass([[1, 2], [2, 1]]), [1]), /expected 2 numbers, got 1/);
});
