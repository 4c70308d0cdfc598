import assert from "node:assert/strict";
import { type Calibration, parseCalibration, standardise, uncalibrated } from "../../attribution/calibration.ts";
import type { Measurements } from "../../attribution/evidence.ts";
import { familyOf, labels } from "../../attribution/labels.ts";
import { chooseFamily, decide, methods } from "../../attribution/verdict.ts";

const hash = "a".repeat(64);

const calibration: Calibration = {
  format: "model-tracer-calibration/1",
  modelSet: hash,
  families: {
    rar: { quantLoss: { threshold: 0.5, logMean: Math.log(0.4), logStd: 0.1 } },
    var: { quantLoss: { threshold: 0.2, logMean: Math.log(0.1), logStd: 0.5 } },
  },
  variants: { scale: 10 },
};

function evidence(rar: number, varLoss: number, logProbs: Record<string, number> = {}): Measurements {
  const signals = (quantLoss: number) => ({ quantLoss, encLoss: 1, encLossUncalibrated: 0.1, combined: quantLoss });
  const variants = Object.fromEntries(
    Object.entries(logProbs).map(([name, meanLogProb]) => [
      name,
      { tokens: 64, meanLogProb, perplexity: Math.exp(-meanLogProb) },
    ]),
  );
  return { families: { rar: signals(rar), var: signals(varLoss) }, variants };
}

Deno.test("labels are the nine of the data folders, and familyOf() knows the family of a variant", () => {
  assert.deepEqual(labels, ["rarb", "rarl", "rarxl", "rarxxl", "var16", "var20", "var24", "var30", "outlier"]);
  assert.equal(familyOf("rarxxl"), "rar");
  assert.equal(familyOf("var16"), "var");
  assert.throws(() => familyOf("var18"), /expected one of rarb, .*, var30, got var18/);
});

Deno.test("chooseFamily() takes the family whose threshold the image passes, the threshold included", () => {
  const choose = (rar: number, varLoss: number) => chooseFamily(evidence(rar, varLoss).families, calibration);
  assert.equal(choose(0.5, 0.3), "rar");
  assert.equal(choose(0.6, 0.2), "var");
  assert.equal(choose(0.6, 0.3), null);
});

Deno.test("chooseFamily() takes the lower standardised QuantLoss when both pass, not the lower QuantLoss", () => {
  const choose = (rar: number, varLoss: number) => chooseFamily(evidence(rar, varLoss).families, calibration);
  // z: rar 0, var 1.39; then rar 2.2, var 1.39.
  assert.equal(choose(0.4, 0.2), "rar");
  assert.equal(choose(0.499, 0.2), "var");
});

Deno.test("perplexity wants the variants of the chosen family only, and none of an outlier", () => {
  assert.deepEqual(methods.perplexity.wants(evidence(0.4, 0.9).families, calibration), ["rar"]);
  assert.deepEqual(methods.perplexity.wants(evidence(0.9, 0.9).families, calibration), []);
});

Deno.test("decide() takes the variant with the lowest perplexity, with probabilities that add up", () => {
  const measured = evidence(0.4, 0.9, { rarb: -4, rarl: -3.9, rarxl: -4.2, rarxxl: -4.1, var16: -1 });
  const verdict = decide("perplexity", measured, calibration, 0);
  assert.equal(verdict.label, "rarl");
  assert.equal(verdict.family, "rar");
  assert.equal(verdict.method, "perplexity");
  assert.deepEqual(Object.keys(verdict.scores), ["rarb", "rarl", "rarxl", "rarxxl"]);
  assert.ok(Math.abs(Object.values(verdict.scores).reduce((a, b) => a + b) - 1) < 1e-12);
  // softmax of 10 x (-4, -3.9, -4.2, -4.1), and 1 / (1 + e^(0 - z(0.5))) for the family.
  const share = 1 / (Math.exp(-1) + 1 + Math.exp(-3) + Math.exp(-2));
  const family = 1 / (1 + Math.exp(-Math.log(0.5 / 0.4) / 0.1));
  assert.ok(Math.abs(verdict.confidence - share * family) < 1e-12);
});

Deno.test("decide() calls an image that no family explains an outlier, the surer the further away it is", () => {
  const near = decide("perplexity", evidence(0.51, 0.21), calibration, 0);
  const far = decide("perplexity", evidence(0.9, 0.9), calibration, 0);
  assert.equal(near.label, "outlier");
  assert.equal(near.family, null);
  assert.ok(near.confidence >= 0.5 && near.confidence < far.confidence && far.confidence <= 1);
});

Deno.test("decide() marks verdicts below the limit as unsure and keeps their label", () => {
  const measured = evidence(0.6, 0.15, { var16: -4, var20: -4 });
  const { confidence } = decide("perplexity", measured, calibration, 0);
  assert.equal(decide("perplexity", measured, calibration, confidence).unsure, false);
  const unsure = decide("perplexity", measured, calibration, confidence + 1e-9);
  assert.equal(unsure.unsure, true);
  assert.equal(unsure.label, "var16");
});

Deno.test("decide() throws when the chosen family has no likelihoods", () => {
  assert.throws(
    () => decide("perplexity", evidence(0.4, 0.9, { var16: -1 }), calibration, 0),
    /perplexity: expected likelihoods of the rar variants, got none/,
  );
});

Deno.test("uncalibrated() accepts every image", () => {
  const open = uncalibrated(hash);
  assert.equal(chooseFamily(evidence(1e9, 1e8).families, open), "var");
  assert.equal(decide("perplexity", evidence(1e9, 1e8, { var16: -1 }), open, 0).label, "var16");
});

Deno.test("standardise() measures in standard deviations of the logarithm", () => {
  assert.ok(Math.abs(standardise(calibration, "rar", 0.4 * Math.exp(0.2)) - 2) < 1e-12);
});

Deno.test("parseCalibration() reads what it is given for the same model set", () => {
  assert.deepEqual(parseCalibration(JSON.stringify(calibration), hash), calibration);
});

Deno.test("parseCalibration() refuses a calibration of other weights", () => {
  assert.throws(
    () => parseCalibration(JSON.stringify(calibration), "b".repeat(64), "x/calibration.json"),
    /x\/calibration\.json: was made for the model set aaaaaaaaaaaa, these weights are bbbbbbbbbbbb: .*calibrate again/,
  );
});

Deno.test("parseCalibration() names the place of a wrong value", () => {
  const wrong = structuredClone(calibration) as { families: { rar: { quantLoss: { logStd: number } } } };
  wrong.families.rar.quantLoss.logStd = 0;
  assert.throws(
    () => parseCalibration(JSON.stringify(wrong), hash),
    /calibration\.json: families\.rar\.quantLoss\.logStd: expected a number above 0, got 0/,
  );
});
