import assert from "node:assert/strict";
import { join } from "node:path";
import {
  type Calibration,
  calibrationFormat,
  levelOf,
  parseCalibration,
  requireQuantizer,
  rulesOf,
  standardise,
  uncalibrated,
} from "../../../attribution/decision/calibration_file.ts";
import type { Measurements } from "../../../attribution/evidence/evidence.ts";
import { officialLabels } from "../../labels.ts";
import { chooseFamily, decide, methodOf } from "../../../attribution/decision/methods.ts";
import { openModelSet } from "../../../models/model_set.ts";
import { tiny } from "../../sets.ts";

const hash = "a".repeat(64);
const set = { hash, families: officialLabels.families };

const fitted = (mean: number, deviation: number, quantile: number, roc: number | null = null) => ({
  mean,
  deviation,
  thresholds: { quantile: { threshold: quantile }, gaussian: null, roc: roc === null ? null : { threshold: roc } },
});

const calibration: Calibration = {
  format: calibrationFormat,
  modelSet: hash,
  quantization: "greedy",
  data: null,
  decision: { signals: { rar: "quantLoss", var: "quantLoss" }, threshold: "quantile" },
  families: {
    rar: { quantLoss: fitted(Math.log(0.4), 0.1, 0.5, 0.45), changedTokens: fitted(0.2, 0.1, 0.4) },
    var: { quantLoss: fitted(Math.log(0.1), 0.5, 0.2) },
  },
  variants: { scale: 10 },
};
const rules = rulesOf(calibration, officialLabels);

function evidence(rar: number, varLoss: number, logProbs: Record<string, number> = {}): Measurements {
  const signals = (quantLoss: number) => ({
    quantLoss,
    encLoss: 1,
    encLossUncalibrated: 0.1,
    combined: quantLoss,
    quantErrorTail: 2 * quantLoss,
  });
  const variants = Object.fromEntries(
    Object.entries(logProbs).map(([name, meanLogProb]) => [
      name,
      { tokens: 64, meanLogProb, perplexity: Math.exp(-meanLogProb) },
    ]),
  );
  return { families: { rar: signals(rar), var: signals(varLoss) }, variants };
}

Deno.test("chooseFamily() takes the family whose threshold the image passes, the threshold included", () => {
  const choose = (rar: number, varLoss: number) => chooseFamily(evidence(rar, varLoss).families, rules);
  assert.equal(choose(0.5, 0.3), "rar");
  assert.equal(choose(0.6, 0.2), "var");
  assert.equal(choose(0.6, 0.3), null);
});

Deno.test("chooseFamily() takes the lower standardised QuantLoss when both pass, not the lower QuantLoss", () => {
  const choose = (rar: number, varLoss: number) => chooseFamily(evidence(rar, varLoss).families, rules);
  // z: rar 0, var 1.39; then rar 2.2, var 1.39.
  assert.equal(choose(0.4, 0.2), "rar");
  assert.equal(choose(0.499, 0.2), "var");
});

Deno.test("perplexity wants the variants of the chosen family only, and none of an outlier", () => {
  assert.deepEqual(methodOf("perplexity").wants(evidence(0.4, 0.9).families, rules), ["rar"]);
  assert.deepEqual(methodOf("perplexity").wants(evidence(0.9, 0.9).families, rules), []);
});

Deno.test("decide() takes the variant with the lowest perplexity, with probabilities that add up", () => {
  const measured = evidence(0.4, 0.9, { rarb: -4, rarl: -3.9, rarxl: -4.2, rarxxl: -4.1, var16: -1 });
  const verdict = decide("perplexity", measured, rules, 0);
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
  const near = decide("perplexity", evidence(0.51, 0.21), rules, 0);
  const far = decide("perplexity", evidence(0.9, 0.9), rules, 0);
  assert.equal(near.label, "outlier");
  assert.equal(near.family, null);
  assert.ok(near.confidence >= 0.5 && near.confidence < far.confidence && far.confidence <= 1);
});

Deno.test("decide() marks verdicts below the limit as unsure and keeps their label", () => {
  const measured = evidence(0.6, 0.15, { var16: -4, var20: -4 });
  const { confidence } = decide("perplexity", measured, rules, 0);
  assert.equal(decide("perplexity", measured, rules, confidence).unsure, false);
  const unsure = decide("perplexity", measured, rules, confidence + 1e-9);
  assert.equal(unsure.unsure, true);
  assert.equal(unsure.label, "var16");
});

Deno.test("decide() throws when the chosen family has no likelihoods", () => {
  assert.throws(
    () => decide("perplexity", evidence(0.4, 0.9, { var16: -1 }), rules, 0),
    /perplexity: expected likelihoods of the rar variants, got none/,
  );
});

Deno.test("uncalibrated() accepts every image", () => {
  const open = rulesOf(uncalibrated(set), officialLabels);
  assert.equal(chooseFamily(evidence(1e9, 1e8).families, open), "var");
  assert.equal(decide("perplexity", evidence(1e9, 1e8, { var16: -1 }), open, 0).label, "var16");
});

Deno.test("standardise() measures in standard deviations of the logarithm", () => {
  assert.ok(Math.abs(standardise(rules.families.rar, 0.4 * Math.exp(0.2)) - 2) < 1e-12);
});

Deno.test("parseCalibration() reads what it is given for the same model set", () => {
  assert.deepEqual(parseCalibration(JSON.stringify(calibration), set), calibration);
});

Deno.test("parseCalibration() refuses a calibration of other weights", () => {
  assert.throws(
    () => parseCalibration(JSON.stringify(calibration), { ...set, hash: "b".repeat(64) }, "x/calibration.json"),
    /x\/calibration\.json: was made for the model set aaaaaaaaaaaa, these weights are bbbbbbbbbbbb: .*calibrate again/,
  );
});

Deno.test("parseCalibration() names the place of a wrong value", () => {
  const wrong = structuredClone(calibration) as unknown as { families: { rar: { quantLoss: { deviation: number } } } };
  wrong.families.rar.quantLoss.deviation = 0;
  assert.throws(
    () => parseCalibration(JSON.stringify(wrong), set),
    /calibration\.json: families\.rar\.quantLoss\.deviation: expected a number above 0, got 0/,
  );
});

Deno.test("parseCalibration() refuses a decision that rests on what the file does not have", () => {
  const parse = (decision: Partial<Calibration["decision"]>) =>
    parseCalibration(JSON.stringify({ ...calibration, decision: { ...calibration.decision, ...decision } }), set);
  assert.throws(
    () => parse({ signals: { rar: "changedTokens", var: "changedTokens" } }),
    /decision\.signals\.var: expected one of quantLoss, got changedTokens/,
  );
  assert.throws(
    () => parse({ threshold: "roc" }),
    /families\.var\.quantLoss\.thresholds\.roc: expected a threshold, got null/,
  );
});

Deno.test("parseCalibration() refuses a map of confidences that is flat, though the file is right otherwise", async () => {
  const embedded = await openModelSet(tiny), text = await Deno.readTextFile(join(tiny, "calibration.json"));
  parseCalibration(text, embedded);
  const slopeOf = (value: number) => {
    const flat = JSON.parse(text);
    flat.classifiers.confidence.joint.variant.slope = value;
    return () => parseCalibration(JSON.stringify(flat), embedded);
  };
  for (const slope of [0, -1, 0.1]) {
    assert.throws(slopeOf(slope), /confidence\.joint\.variant\.slope: .*a flat map makes every confidence the same/);
  }
  slopeOf(0.5)();
});

Deno.test("rulesOf() takes the thresholds and signals that the user chooses, and says which there are", () => {
  const chosen = rulesOf(calibration, officialLabels, { signals: { rar: "changedTokens" } });
  assert.deepEqual(chosen.families.rar, { signal: "changedTokens", mean: 0.2, deviation: 0.1, threshold: 0.4 });
  assert.equal(levelOf(chosen), "all");
  assert.equal(levelOf(rules), "core");
  assert.throws(
    () => rulesOf(calibration, officialLabels, { threshold: "roc" }),
    /--threshold roc: the calibration has no such threshold for var \(quantLoss\); it has quantile/,
  );
  assert.throws(
    () => rulesOf(uncalibrated(set), officialLabels, { threshold: "gaussian" }),
    /no such threshold for rar \(quantLoss\); it has none at all: calibrate first \(deno task calibrate\)/,
  );
  assert.throws(
    () => rulesOf(calibration, officialLabels, { signals: { var: "combined" } }),
    /fitted for var \(quantLoss\), got combined/,
  );
});

Deno.test("rulesOf() says so where val had no outliers for roc", () => {
  const val = { fingerprint: hash, images: 2, labels: { rarb: 1, var16: 1 } };
  assert.throws(
    () => rulesOf({ ...calibration, data: { train: val, val } }, officialLabels, { threshold: "roc" }),
    /no such threshold for var \(quantLoss\): val had no outliers when the set was calibrated; it has quantile/,
  );
});

Deno.test("chooseFamily() on a share: fewer tokens changed than the threshold pass", () => {
  const chosen = rulesOf(calibration, officialLabels, { signals: { rar: "changedTokens" } });
  const withShare = (unchangedTokens: number) => {
    const { families } = evidence(9, 0.9);
    return { ...families, rar: { ...families.rar, unchangedTokens } };
  };
  assert.equal(chooseFamily(withShare(0.61), chosen), "rar");
  assert.equal(chooseFamily(withShare(0.59), chosen), null);
  assert.throws(
    () => chooseFamily(evidence(9, 0.9).families, chosen),
    /changedTokens: was not measured; evidence with the signals "all" has it/,
  );
});

Deno.test("requireQuantizer() refuses scores of another quantiser than the thresholds were fitted to", () => {
  requireQuantizer(calibration, "greedy");
  assert.throws(() => requireQuantizer(calibration, "gradient"), /--quantization gradient: .* made with greedy/);
  requireQuantizer(uncalibrated(set), "gradient");
});

Deno.test("decide() repeats with every verdict that a calibration rests on few images", () => {
  const part = (labels: Record<string, number>) => ({ fingerprint: "0".repeat(64), images: 1, labels });
  const of = (train: Record<string, number>, val: Record<string, number>) =>
    rulesOf({ ...calibration, data: { train: part(train), val: part(val) } }, officialLabels);
  const few = of({ rarb: 2, rarl: 2, var16: 40 }, { outlier: 3 });
  const { reasons } = decide("perplexity", evidence(0.6, 0.3), few, 0);
  assert.equal(reasons.length, 1);
  assert.match(reasons[0], /rests on few images \(4 of rar, 3 outliers; 20 or more are needed\)/);
  const enough = of({ rarb: 10, var16: 40 }, { rarl: 10, outlier: 20 });
  assert.deepEqual(decide("perplexity", evidence(0.6, 0.3), enough, 0).reasons, []);
  assert.equal(enough.cautions, undefined);
});
