/** Classifiers of variants and the own-sample rule, fitted to images whose structure is known. */
import assert from "node:assert/strict";
import { fitOwnSamples, fitVariants } from "../../../attribution/calibration/fit_variants.ts";
import { classifyRow, ownSampleScores } from "../../../attribution/decision/classifiers/variant.ts";
import { featuresOf } from "../../../attribution/evidence/features.ts";
import { officialLabels } from "../../labels.ts";
import { measuredLines } from "../measured_lines.ts";

const rows = (each: number, seed: number) =>
  measuredLines(each, seed).map(({ label, line }) => ({ label, row: featuresOf(line) }));
const largest = (scores: Readonly<Record<string, number>>) =>
  Object.entries(scores).reduce((a, b) => (b[1] > a[1] ? b : a))[0];
const near = (a: number, b: number, tolerance: number) => assert.ok(Math.abs(a - b) <= tolerance, `${a} and ${b}`);

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
