/** The joint decision on images whose structure is known. */
import assert from "node:assert/strict";
import { fitJoint } from "../../../../attribution/calibration/fit_joint.ts";
import { jointDistances, jointLabel, jointScores } from "../../../../attribution/decision/classifiers/joint.ts";
import { featuresOf } from "../../../../attribution/evidence/features.ts";
import { type Label } from "../../../../attribution/labels.ts";
import { calibrationError } from "../../../../attribution/metrics/mod.ts";
import { labels, officialLabels } from "../../../labels.ts";
import { measuredLines, type Structure } from "../../measured_lines.ts";

const rows = (each: number, seed: number, structure?: Structure) =>
  measuredLines(each, seed, structure).map(({ label, line }) => ({ label, row: featuresOf(line) }));
const largest = (scores: Readonly<Record<string, number>>) =>
  Object.entries(scores).reduce((a, b) => (b[1] > a[1] ? b : a))[0];
const near = (a: number, b: number, tolerance: number) => assert.ok(Math.abs(a - b) <= tolerance, `${a} and ${b}`);

const fitted = fitJoint(rows(40, 1), officialLabels);

Deno.test("jointScores() finds labels, and outliers of which the fit has seen none", () => {
  const fresh = rows(60, 2);
  const right = fresh.filter(({ label, row }) => largest(jointScores(fitted, row)) === label);
  assert.ok(right.length >= 0.93 * fresh.length, `${right.length} of ${fresh.length}`);
  const outliers = fresh.filter(({ label }) => label === "outlier");
  const found = outliers.filter(({ row }) => largest(jointScores(fitted, row)) === "outlier").length;
  assert.ok(found >= 0.95 * outliers.length, `${found}`);
  for (const { row } of fresh.slice(0, 20)) {
    const scores = jointScores(fitted, row);
    assert.deepEqual(Object.keys(scores), [...labels]);
    near(Object.values(scores).reduce((a, b) => a + b), 1, 1e-12);
  }
});

Deno.test("jointLabel() says outlier only where that is likelier than not", () => {
  const share = (outlier: number) =>
    Object.fromEntries(labels.map((label) => [label, label === "outlier" ? outlier : (1 - outlier) / 8])) as Record<
      Label,
      number
    >;
  assert.equal(jointLabel(share(0.51)), "outlier");
  assert.equal(jointLabel({ ...share(0.4), var24: 0.2 }), "var24");
});

Deno.test("jointScores(): the prior moves the odds of an outlier by its own odds, and nothing else", () => {
  const { row } = rows(1, 4)[0];
  const odds = (prior: number) => {
    const { outlier } = jointScores(fitted, row, prior);
    return Math.log(outlier / (1 - outlier));
  };
  near(odds(0.5) - odds(0.2), Math.log(4), 1e-9);
  const share = (prior: number) => {
    const scores = jointScores(fitted, row, prior);
    return scores.rarb / (1 - scores.outlier);
  };
  near(share(0.01), share(0.9), 1e-12);
  assert.throws(() => jointScores(fitted, row, 0), /expected an outlier prior between 0 and 1, got 0/);
});

Deno.test("jointScores(): confidence is a rate of being right where variants overlap", () => {
  const structure = { variant: 1.2 };
  const model = fitJoint(rows(60, 5, structure), officialLabels);
  const fresh = rows(150, 6, structure);
  const scores = fresh.map(({ row }) => jointScores(model, row, 1 / 9));
  const right = fresh.map(({ label }, i) => largest(scores[i]) === label);
  const accuracy = right.filter((each) => each).length / right.length;
  assert.ok(accuracy > 0.5 && accuracy < 0.9, `${accuracy}`);
  const error = calibrationError(scores.map((each) => Math.max(...Object.values(each))), right);
  assert.ok(error < 0.06, `${error}`);
});

Deno.test("jointDistances() is standardised: own images lie around 0 with deviation 1", () => {
  const own = rows(200, 7).filter(({ label }) => label.startsWith("rar")).map(({ row }) =>
    jointDistances(fitted, row).rar
  );
  const mean = own.reduce((a, b) => a + b) / own.length;
  const deviation = Math.sqrt(own.reduce((sum, z) => sum + (z - mean) ** 2, 0) / own.length);
  near(mean, 0, 0.25);
  near(deviation, 1, 0.2);
});
