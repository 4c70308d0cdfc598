/** The joint decision on images whose structure is known. */
import assert from "node:assert/strict";
import { fitJoint } from "../../../../attribution/calibration/fit_joint.ts";
import {
  largest,
  leastOpenRatio,
  openFamilies,
  type Posed,
  posterior,
  readFeatures,
  type Readings,
  strangerShare,
} from "../../../../attribution/decision/classifiers/joint.ts";
import { featuresOf } from "../../../../attribution/evidence/features.ts";
import { auroc, equalMassCalibrationError } from "../../../../attribution/metrics/mod.ts";
import { labels, officialLabels } from "../../../labels.ts";
import { examples } from "../../joint_examples.ts";
import { measuredLines, type Structure } from "../../measured_lines.ts";

const near = (a: number, b: number, tolerance: number) => assert.ok(Math.abs(a - b) <= tolerance, `${a} and ${b}`);
const total = (values: Readonly<Record<string, number>>) => Object.values(values).reduce((a, b) => a + b, 0);

const { model } = fitJoint(examples(40, 1), officialLabels);
const fresh = (each: number, seed: number, structure?: Structure) =>
  measuredLines(each, seed, structure).map(({ label, line }) => ({ label, row: featuresOf(line) }));

Deno.test("posterior() finds labels, and outliers", () => {
  const images = fresh(60, 2).map((item) => ({
    ...item,
    after: posterior([{ weight: 1, readings: readFeatures(model, item.row) }]),
  }));
  const right = images.filter(({ label, after }) => largest(after.scores) === label);
  assert.ok(right.length >= 0.93 * images.length, `${right.length} of ${images.length}`);
  for (const { after } of images.slice(0, 20)) {
    assert.deepEqual(Object.keys(after.scores), [...labels]);
    near(total(after.scores) + total(after.strangers), 1, 1e-12);
  }
});

Deno.test("openFamilies(): the signals close families that did not make the image, and then its likelihoods do not count", () => {
  const images = fresh(60, 3);
  let closed = 0;
  for (const { label, row } of images) {
    const signals = Object.fromEntries(Object.entries(row).filter(([name]) => /^(rar|var)\./.test(name)));
    const open = openFamilies(model, signals), own = officialLabels.familyOf(label);
    if (own !== null) assert.ok(open.includes(own), `${label}: ${open}`);
    closed += 2 - open.length;
    const kept = Object.entries(row).filter(([name]) =>
      name in signals || open.some((family) => officialLabels.variants[family].some((v) => name.startsWith(`${v}.`)))
    );
    assert.deepEqual(readFeatures(model, Object.fromEntries(kept)), readFeatures(model, row));
    for (const family of open) {
      assert.throws(() => readFeatures(model, signals), /expected|missing/, family);
    }
    const readings = readFeatures(model, row);
    for (const name of officialLabels.families.filter((name) => !open.includes(name))) {
      assert.ok(readings[name].trace < leastOpenRatio);
    }
  }
  assert.ok(closed > images.length / 2, `${closed} of ${2 * images.length} closed`);
});

/** Readings that say so much for each family, with even variants. */
function readings(trace: { rar: number; var: number }, known = { rar: 0, var: 0 }): Readings {
  const reading = (family: "rar" | "var") => ({
    trace: trace[family],
    known: known[family],
    variants: Object.fromEntries(officialLabels.variants[family].map((name, i) => [name, i === 0 ? 0.7 : 0.1])),
  });
  return { rar: reading("rar"), var: reading("var") };
}
const as = (trace: { rar: number; var: number }, weight = 1): Posed => ({ weight, readings: readings(trace) });

Deno.test("posterior(): the prior moves the odds of an outlier by its odds, and nothing else", () => {
  const odds = (prior: number) => {
    const { scores, strangers } = posterior([as({ rar: 1, var: -2 })], prior);
    const out = scores.outlier + total(strangers);
    return Math.log(out / (1 - out));
  };
  near(odds(0.5) - odds(0.2), Math.log(4), 1e-9);
  near(posterior([as({ rar: 1, var: -2 })], 0.5).lnRatio, posterior([as({ rar: 1, var: -2 })], 0.1).lnRatio, 1e-12);
  assert.throws(() => posterior([as({ rar: 0, var: 0 })], 0), /expected an outlier prior between 0 and 1, got 0/);
});

Deno.test("posterior(): by hand, for one family with traces", () => {
  // P(outlier) : P(strangers) : P(variants) = 0.2 (1 - s) : 0.2 s e^4 / 2 : 0.8 e^4 / 2
  const s = strangerShare, e4 = Math.exp(4), norm = 0.2 * (1 - s) + 0.1 * s * e4 + 0.4 * e4;
  const { scores, strangers, lnRatio } = posterior([as({ rar: 4, var: -Infinity })], 0.2);
  near(scores.outlier, 0.2 * (1 - s) / norm, 1e-12);
  near(strangers.rar, 0.1 * s * e4 / norm, 1e-12);
  near(scores.rarb, 0.7 * 0.4 * e4 / norm, 1e-12);
  near(lnRatio, Math.log(e4 / (1 - s + s * e4 / 2)), 1e-12);
});

Deno.test("posterior(): a stranger's tokens take the probability from the variants, not from the family", () => {
  const own = posterior([{ weight: 1, readings: readings({ rar: 5, var: -5 }, { rar: 4, var: 0 }) }]);
  const other = posterior([{ weight: 1, readings: readings({ rar: 5, var: -5 }, { rar: -5, var: 0 }) }]);
  assert.ok(own.strangers.rar < 0.01 && other.strangers.rar > 0.5);
  assert.ok(other.scores.outlier < 0.02 && own.lnRatio > other.lnRatio);
});

Deno.test("posterior(): poses are weighed, so that many poses without traces and one with them say little more than one", () => {
  const nothing = as({ rar: -5, var: -5 }, 0.7), found = as({ rar: 5, var: -5 }, 0.3);
  const { scores, pose, lnRatio } = posterior([nothing, found]);
  assert.equal(pose, 1);
  assert.ok(scores.outlier < 0.1);
  near(lnRatio, Math.log(0.3 * Math.exp(5) / (1 - strangerShare + strangerShare / 2 * 0.3 * Math.exp(5))), 0.01);
  // Eight chance hits of little weight do not add up to an accusation.
  const chance = Array.from({ length: 8 }, () => as({ rar: 1, var: -5 }, 0.3 / 8));
  assert.ok(posterior([nothing, ...chance]).scores.outlier > 0.2);
});

Deno.test("posterior(): its probabilities are rates of being right where variants overlap", () => {
  const structure = { variant: 1.2 };
  const overlapping = fitJoint(examples(60, 5, structure), officialLabels).model;
  const images = fresh(150, 6, structure);
  const scores = images.map(({ row }) => {
    const { scores, strangers } = posterior([{ weight: 1, readings: readFeatures(overlapping, row) }], 1 / 9);
    return { ...scores, outlier: scores.outlier + total(strangers) };
  });
  const right = images.map(({ label }, i) => largest(scores[i]) === label);
  const accuracy = right.filter(Boolean).length / right.length;
  assert.ok(accuracy > 0.5 && accuracy < 0.9, `${accuracy}`);
  const confidences = scores.map((values) => Math.max(...Object.values(values)));
  const error = equalMassCalibrationError(confidences, right)!;
  assert.ok(error < 0.08, `${error}`);
  // A constant would have a small error, too, but an AUROC of 0.5.
  const area = auroc(confidences, right)!;
  assert.ok(area > 0.7, `${area}`);
});
