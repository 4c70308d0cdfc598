/** The joint decision, the classifiers of variants and calibrated confidences, on images whose structure is known. */
import assert from "node:assert/strict";
import {
  calibrationError,
  fitStretch,
  reliabilityBins,
  stretchConfidence,
} from "../../../../attribution/decision/classifiers/confidence.ts";
import {
  fitJoint,
  jointDistances,
  jointLabel,
  jointScores,
} from "../../../../attribution/decision/classifiers/joint.ts";
import {
  classifyRow,
  fitOwnSamples,
  fitVariants,
  ownSampleScores,
} from "../../../../attribution/decision/classifiers/variant.ts";
import { featuresOf } from "../../../../attribution/evidence/features.ts";
import { type Label } from "../../../../attribution/labels.ts";
import { labels, officialLabels } from "../../../labels.ts";
import { uniforms } from "../../../../core/tensor/mod.ts";
import { measuredLines, type Structure } from "./rows.ts";

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

Deno.test("fitJoint() takes nothing but the range from outliers, whatever their number", () => {
  const all = rows(24, 3), members = all.filter(({ label }) => label !== "outlier");
  const outliers = all.filter(({ label }) => label === "outlier");
  const { range, ...rest } = fitJoint(all, officialLabels);
  const { range: usual, ...without } = fitJoint(members, officialLabels);
  assert.deepEqual(rest, without);
  assert.equal(usual, 10);
  assert.ok(range > 3 && range !== usual, `${range}`);
  // More of the same change next to nothing; a few are not believed.
  near(fitJoint([...members, ...outliers, ...outliers], officialLabels).range, range, 0.3);
  assert.equal(fitJoint([...members, ...outliers.slice(0, 5)], officialLabels).range, 10);
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

Deno.test("fitVariants() takes the columns that cross-validation prefers and finds variants by them", () => {
  const own = rows(40, 8).filter(({ label }) => label.startsWith("var"));
  const { classifier, chosen, losses } = fitVariants(own, officialLabels.variants.var);
  assert.equal(losses[chosen], Math.min(...Object.values(losses)));
  assert.ok(classifier.columns.every((name) => /^var(16|20|24|30)\./.test(name)));
  const fresh = rows(50, 9).filter(({ label }) => label.startsWith("var"));
  const right = fresh.filter(({ label, row }) => largest(classifyRow(classifier, row)) === label).length;
  assert.ok(right > 0.95 * fresh.length, `${right} of ${fresh.length}`);
  const { "var20.guided.mean": _, ...missing } = fresh[0].row;
  assert.throws(
    () => classifyRow(classifier, missing),
    /expected the feature var20.guided.mean, which was not measured/,
  );
});

Deno.test("the own-sample rule takes the variant whose own images have such a likelihood", () => {
  const own = rows(40, 10);
  const samples = fitOwnSamples(own);
  near(samples.rarb.mean, -5 + 0.1 * 4, 0.05);
  near(samples.rarb.deviation, 0.1, 0.03);
  assert.equal(samples.outlier, undefined);
  const typical = (label: string, value: number) => ({ [`${label}.guided.mean`]: value });
  const row = {
    ...typical("rarb", -9),
    ...typical("rarl", samples.rarl.mean),
    ...typical("rarxl", -5),
    ...typical("rarxxl", -3),
  };
  const scores = ownSampleScores(samples, officialLabels.variants.rar, row);
  assert.equal(largest(scores), "rarl");
  near(Object.values(scores).reduce((a, b) => a + b), 1, 1e-12);
});

Deno.test("fitStretch() finds the stretch of log-odds that confidences were made with", () => {
  const draws = uniforms(11, 0, 8000);
  const truth = { slope: 0.5, offset: 0.4 };
  const raw = Array.from({ length: 4000 }, (_, i) => 0.02 + 0.96 * draws[i]);
  const right = raw.map((p, i) => draws[4000 + i] < stretchConfidence(truth, p));
  const found = fitStretch(raw, right);
  near(found.slope, truth.slope, 0.06);
  near(found.offset, truth.offset, 0.1);
  // Without a single error, nothing becomes certain.
  const sure = fitStretch([0.6, 0.7, 0.9], [true, true, true]);
  assert.ok(stretchConfidence(sure, 0.9) < 0.995 && stretchConfidence(sure, 0.9) > 0.6);
  assert.deepEqual(fitStretch([], []), { slope: 1, offset: 0 });
});

Deno.test("calibrationError() is the mean distance of confidence and accuracy over bins", () => {
  const confidence = [0.95, 0.95, 0.95, 0.95, 0.55, 0.55], right = [true, true, true, false, true, false];
  assert.deepEqual(reliabilityBins(confidence, right).map(({ count, accuracy }) => [count, accuracy]), [[2, 0.5], [
    4,
    0.75,
  ]]);
  near(calibrationError(confidence, right), (4 * 0.2 + 2 * 0.05) / 6, 1e-12);
  assert.equal(reliabilityBins([1], [true])[0].count, 1);
});
