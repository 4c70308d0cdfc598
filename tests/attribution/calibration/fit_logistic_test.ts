/** Logistic regression against closed forms and finite differences. */
import assert from "node:assert/strict";
import { fitLogistic, logisticObjective } from "../../../attribution/calibration/fit_logistic.ts";
import { logOdds } from "../../../attribution/decision/classifiers/logistic.ts";
import { normals } from "../../../core/tensor/mod.ts";
import { groups } from "./groups.ts";

const near = (a: number, b: number, tolerance: number) => assert.ok(Math.abs(a - b) <= tolerance, `${a} and ${b}`);

Deno.test("the gradient of the loss is that of central differences", () => {
  const size = { rows: 7, columns: 3, classes: 4 };
  const z = Float64Array.from(normals(1, 0, 21)), y = [0, 1, 2, 3, 0, 1, 1];
  const objective = logisticObjective(z, y, [1, 2, 1, 1, 0.5, 1, 1], size, 0.3);
  const x = Float64Array.from(normals(2, 0, 16)), gradient = new Float64Array(16), unused = new Float64Array(16);
  objective(x, gradient);
  for (let i = 0; i < x.length; i++) {
    const step = 1e-5, at = (value: number) => objective(x.with(i, value), unused);
    near(gradient[i], (at(x[i] + step) - at(x[i] - step)) / (2 * step), 1e-9);
  }
});

/** One column of -1 and 1; class 1 for `share` of the ones and for 1 - `share` of the others. Rows of both classes are equally many. */
function coin(share: number, each = 100): { rows: number[][]; y: number[] } {
  const rows: number[][] = [], y: number[] = [];
  for (const x of [-1, 1]) {
    for (let i = 0; i < each; i++) {
      rows.push([10 + 3 * x]);
      y.push(i < (x === 1 ? share : 1 - share) * each ? 1 : 0);
    }
  }
  return { rows, y };
}

Deno.test("fitLogistic() gives the frequencies where the penalty is next to nothing", () => {
  const { rows, y } = coin(0.8);
  const model = fitLogistic(rows, y, 2, { l2: 1e-9 });
  const [no, yes] = logOdds(model, [13]);
  near(yes - no, Math.log(0.8 / 0.2), 1e-6);
  assert.deepEqual([model.mean, model.deviation], [[10], [3]]);
});

Deno.test("fitLogistic() with a penalty is where the derivative vanishes: sigmoid(2 w) = share - l2 w", () => {
  for (const l2 of [0.01, 0.1, 1]) {
    const { rows, y } = coin(0.8);
    const { weights, intercepts } = fitLogistic(rows, y, 2, { l2 });
    const w = weights[1][0];
    near(weights[0][0], -w, 1e-7);
    near(1 / (1 + Math.exp(-2 * w)), 0.8 - l2 * w, 1e-7);
    near(intercepts[0], 0, 1e-7);
  }
});

Deno.test("fitLogistic() counts classes alike, however many rows each has", () => {
  const { rows, y } = coin(0.8);
  const more = rows.flatMap((row, i) => y[i] === 1 ? [row, row, row] : [row]);
  const labels = y.flatMap((k) => k === 1 ? [1, 1, 1] : [0]);
  // Standardisation sees other rows: weights are compared on the column's own scale.
  const odds = (model: ReturnType<typeof fitLogistic>, x: number) => {
    const [no, yes] = logOdds(model, [x]);
    return yes - no;
  };
  const a = fitLogistic(rows, y, 2, { l2: 1e-9 }), b = fitLogistic(more, labels, 2, { l2: 1e-9 });
  for (const x of [7, 13]) near(odds(a, x), odds(b, x), 1e-5);
  const weighted = fitLogistic(more, labels, 2, { l2: 1e-9, rowWeights: labels.map(() => 1) });
  near(odds(weighted, 13), odds(a, 13) + Math.log(3), 1e-5);
});

Deno.test("fitLogistic() does not depend on the scale of columns, on where it starts, or on constant columns", () => {
  const { rows, y } = groups(150, 1);
  const model = fitLogistic(rows, y, 3, { l2: 0.01 });
  const scaled = fitLogistic(rows.map((row) => row.map((value, j) => value * 10 ** j - j)), y, 3, { l2: 0.01 });
  const elsewhere = fitLogistic(rows, y, 3, { l2: 0.01, start: fitLogistic(rows, y, 3, { l2: 10 }) });
  model.weights.forEach((row, k) =>
    row.forEach((value, j) => {
      near(value, scaled.weights[k][j], 1e-6);
      near(value, elsewhere.weights[k][j], 1e-6);
    })
  );
  assert.deepEqual(model.weights.map((row) => row[4]), [0, 0, 0]);
  assert.deepEqual(logOdds(model, [1, 2, 3, 4, 42]), logOdds(model, [1, 2, 3, 4, -1e9]));
});

Deno.test("fitLogistic() refuses classes without rows, values that are not finite, and no penalty", () => {
  assert.throws(() => fitLogistic([[1], [2]], [0, 0], 2, { l2: 1 }), /expected rows of every class, got none of 1/);
  assert.throws(() => fitLogistic([[1], [NaN]], [0, 1], 2, { l2: 1 }), /got NaN in row 1, column 0/);
  assert.throws(() => fitLogistic([[1], [2]], [0, 1], 2, { l2: 0 }), /expected a penalty above 0, got 0/);
  assert.throws(() => logOdds(fitLogistic([[1], [2]], [0, 1], 2, { l2: 1 }), [1, 2]), /expected 1 numbers, got 2/);
});
