/** Logistic regression against closed forms, finite differences and known distributions. */
import assert from "node:assert/strict";
import {
  classify,
  fitClassifier,
  fitTemperature,
  meanLoss,
  stratifiedFolds,
} from "../../../../attribution/decision/classifiers/fit.ts";
import { minimize } from "../../../../attribution/decision/classifiers/lbfgs.ts";
import {
  fitLogistic,
  logisticObjective,
  logOdds,
  softmax,
} from "../../../../attribution/decision/classifiers/logistic.ts";
import { normals, uniforms } from "../../../../core/tensor/mod.ts";

const near = (a: number, b: number, tolerance: number) => assert.ok(Math.abs(a - b) <= tolerance, `${a} and ${b}`);

Deno.test("minimize() finds the minimum of Rosenbrock's valley and of an ill-conditioned quadratic", () => {
  const valley = minimize((x, gradient) => {
    const [a, b] = x;
    gradient[0] = -2 * (1 - a) - 400 * a * (b - a * a);
    gradient[1] = 200 * (b - a * a);
    return (1 - a) ** 2 + 100 * (b - a * a) ** 2;
  }, Float64Array.from([-1.2, 1]));
  assert.ok(valley.converged && valley.iterations < 100);
  near(valley.x[0], 1, 1e-7);
  near(valley.x[1], 1, 1e-7);
  const scales = Float64Array.from({ length: 50 }, (_, i) => 10 ** (i / 20));
  const bowl = minimize((x, gradient) => {
    let value = 0;
    scales.forEach((scale, i) => {
      gradient[i] = scale * (x[i] - i);
      value += scale / 2 * (x[i] - i) ** 2;
    });
    return value;
  }, new Float64Array(50));
  assert.ok(bowl.converged);
  bowl.x.forEach((value, i) => near(value, i, 1e-7));
});

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

/** Three groups of normal rows in five columns, of which the last is constant. */
function groups(n: number, seed: number): { rows: number[][]; y: number[] } {
  const noise = normals(seed, 0, 4 * n);
  const y = Array.from({ length: n }, (_, i) => i % 3);
  const rows = y.map((k, i) => {
    const [a, b, c, d] = noise.subarray(4 * i, 4 * i + 4);
    return [a + (k === 0 ? 1.5 : 0), 100 * (b + (k === 1 ? 1.5 : 0)), 1e-3 * c, d, 42];
  });
  return { rows, y };
}

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
