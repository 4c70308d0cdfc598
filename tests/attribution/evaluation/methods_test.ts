/** The comparison of methods, with classifiers that are fitted to images whose structure is known. */
import { officialLabels } from "../../labels.ts";
import assert from "node:assert/strict";
import {
  parseCalibration,
  requireCondition,
  rulesOf,
  uncalibrated,
} from "../../../attribution/decision/calibration_file.ts";
import { fitCalibration } from "../../../attribution/calibration/thresholds.ts";
import { fitClassifiers, whyNotFittable } from "../../../attribution/calibration/classifiers.ts";
import { compareMethods, extrasOf, knownMethods } from "../../../attribution/evaluation/methods.ts";
import {
  decide,
  defaultMethod,
  methodOf,
  registerMethod,
  requireMethod,
  twoStages,
} from "../../../attribution/decision/methods.ts";
import { measuredLines } from "../measured_lines.ts";

const hash = "b".repeat(64);
const train = measuredLines(30, 1).filter(({ label }) => label !== "outlier"), val = measuredLines(25, 2);
const labelled = (items: typeof val) => items.map(({ label, line }) => ({ label, families: line.families }));
const { families, oneClass, decision } = fitCalibration(labelled(train), labelled(val), officialLabels);
const thresholds = { ...uncalibrated({ hash, families: officialLabels.families }), families, oneClass, decision };
const { classifiers, rates } = await fitClassifiers([...train, ...val], { rules: rulesOf(thresholds, officialLabels) });
const calibration = { ...thresholds, classifiers };
const rules = rulesOf(calibration, officialLabels);
const test = measuredLines(40, 3);

Deno.test("fitClassifiers() says how often each method finds the variant, without having seen the image", () => {
  assert.deepEqual(Object.keys(rates), ["two-stage", "perplexity", "own-sample"]);
  assert.ok(rates["two-stage"].rar > 0.95 && rates["two-stage"].var > 0.95);
  // Perplexity is of tokens without a class, which say nothing here.
  assert.ok(rates.perplexity.rar < 0.5);
});

Deno.test("compareMethods() has a row for every method that the calibration knows", () => {
  assert.deepEqual(knownMethods(rules), ["joint", "two-stage", "perplexity", "own-sample"]);
  const results = compareMethods(test, rules, undefined, { resamples: 100 });
  const [joint, twoStage, perplexity] = results;
  assert.deepEqual(results.map(({ method }) => method), knownMethods(rules));
  for (const { figures, variants: { rar: rarVariants } } of [joint, twoStage]) {
    const { accuracy, outlierRecall, calibrationError } = figures;
    assert.ok(accuracy.value! > 0.9 && rarVariants.value! > 0.95 && outlierRecall.value! > 0.9);
    assert.ok(accuracy.interval!.low <= accuracy.value! && accuracy.value! <= accuracy.interval!.high);
    assert.ok(calibrationError.value! < 0.05, `${calibrationError.value}`);
  }
  assert.ok(perplexity.variants.rar.value! < 0.5);
  // The share of outliers is 1/9: half and twice of it weigh their recall against the members' accuracy.
  const recall = joint.figures.outlierRecall.value!, all = joint.figures.accuracy.value!;
  const members = (all - recall / 9) * 9 / 8;
  assert.ok(Math.abs(joint.doubleOutliers! - (2 / 9 * recall + 7 / 9 * members)) < 1e-9);
  assert.ok(Math.abs(joint.halfOutliers! - (1 / 18 * recall + 17 / 18 * members)) < 1e-9);
});

Deno.test("classifiers survive the calibration file, and are refused under another condition or version", () => {
  const back = parseCalibration(JSON.stringify(calibration), { hash, families: officialLabels.families });
  assert.deepEqual(back.classifiers, JSON.parse(JSON.stringify(classifiers)));
  for (const { line } of test.slice(0, 10)) {
    assert.deepEqual(decide("joint", line, rulesOf(back, officialLabels), 0), decide("joint", line, rules, 0));
  }
  for (const summaries of [undefined, "summaries/1"]) {
    const old = { ...calibration, classifiers: { ...classifiers, summaries } };
    assert.throws(
      () => parseCalibration(JSON.stringify(old), { hash, families: officialLabels.families }),
      /classifiers.summaries: expected summaries\/3, got (none|summaries\/[12]): .*calibrate again/,
    );
  }
  requireCondition(calibration, "infer");
  assert.throws(
    () => requireCondition(calibration, "none"),
    /--condition none: the classifiers were fitted to likelihoods under --condition infer; .*calibrate with --condition none/,
  );
});

Deno.test("joint decides by default where there are classifiers, and the prior moves what it calls an outlier", () => {
  assert.equal(defaultMethod(rules), "joint");
  assert.equal(defaultMethod(rulesOf(thresholds, officialLabels)), "perplexity");
  const called = (outlierPrior: number) =>
    test.filter(({ line }) =>
      decide("joint", line, rulesOf(calibration, officialLabels, { outlierPrior }), 0).label === "outlier"
    )
      .length;
  assert.ok(called(0.001) < called(0.2) && called(0.2) < called(0.999));
  assert.throws(
    () => rulesOf(calibration, officialLabels, { outlierPrior: 1 }),
    /--outlier-prior: expected a share above 0 and below 1, got 1/,
  );
  const { scores } = decide("joint", test[0].line, rules, 0);
  assert.equal(Object.keys(scores).length, 9);
});

Deno.test("methods say what they lack before work starts", () => {
  requireMethod("joint", rules);
  assert.throws(
    () => requireMethod("joint", rulesOf(thresholds, officialLabels)),
    /--method joint: the calibration has no classifiers: calibrate first/,
  );
  assert.throws(
    () => requireMethod("prada", rules),
    /--method prada: was not fitted: calibrate again, with --extras prada/,
  );
  assert.throws(() => methodOf("magic"), /--method: expected joint, .*, got magic/);
  assert.deepEqual(extrasOf(["joint", "prada", "membership", "prada"]), ["prada", "membership"]);
});

Deno.test("registerMethod() adds a method by a new name", () => {
  registerMethod(
    "last",
    twoStages(
      "last",
      { description: "always the largest variant" },
      (_row, family) => ({ [family === "rar" ? "rarxxl" : "var30"]: 1 }),
    ),
  );
  const { line } = test.find(({ label }) => label === "rarb")!;
  assert.equal(decide("last", line, rules, 0).label, "rarxxl");
  const [result] = compareMethods(test, rules, ["last"], { resamples: 10 });
  assert.equal(result.variants.rar.value, 0.25);
  assert.throws(() => registerMethod("joint", methodOf("last")), /expected a new name, joint is taken/);
});

Deno.test("whyNotFittable() counts what is missing", () => {
  assert.equal(whyNotFittable(val, officialLabels), undefined);
  assert.match(
    whyNotFittable(val.filter(({ label }, i) => label !== "var24" || i % 25 < 3), officialLabels)!,
    /classifiers need 5 images or more of every variant .*, got 3 of var24/,
  );
});
