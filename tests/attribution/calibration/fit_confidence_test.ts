/** Confidences against the rates that they were drawn with. */
import assert from "node:assert/strict";
import {
  fitStretch,
  fitStretches,
  type JudgedVerdict,
  whyUninformative,
} from "../../../attribution/calibration/fit_confidence.ts";
import { leastSlope, stretchConfidence, stretchOf } from "../../../attribution/decision/classifiers/confidence.ts";
import { uniforms } from "../../../core/tensor/mod.ts";

const near = (a: number, b: number, tolerance: number) => assert.ok(Math.abs(a - b) <= tolerance, `${a} and ${b}`);

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

Deno.test("fitStretch() keeps the order of confidences even where a sample says that higher ones are wrong more often", () => {
  const raw = [...new Array<number>(40).fill(0.6), ...new Array<number>(40).fill(0.9)];
  const right = raw.map((p, i) => p === 0.6 || i % 4 > 0);
  const { slope, offset } = fitStretch(raw, right);
  assert.equal(slope, leastSlope);
  // With that slope, the mean confidence is the rate of being right.
  const mean = raw.reduce((sum, p) => sum + stretchConfidence({ slope, offset }, p), 0) / raw.length;
  near(mean, right.filter(Boolean).length / right.length, 0.02);
});

Deno.test("fitStretches() judges verdicts of each kind among their own: pooled, the order would be lost", () => {
  const verdicts: JudgedVerdict[] = [];
  const add = (finding: "variant" | "none", raw: number, hits: number, misses: number) => {
    for (let i = 0; i < hits + misses; i++) verdicts.push({ finding, raw, isRight: i < hits });
  };
  add("variant", 0.5, 90, 10);
  add("variant", 0.8, 99, 1);
  add("none", 0.9, 50, 50);
  add("none", 0.99, 80, 20);
  const stretches = fitStretches(verdicts);
  assert.deepEqual(Object.keys(stretches), ["variant", "none"]);
  const variant = stretchOf(stretches, "variant"), none = stretchOf(stretches, "none");
  assert.ok(variant.slope > leastSlope && none.slope > leastSlope);
  // Findings without verdicts take the map of the nearest one.
  assert.deepEqual(stretchOf(stretches, "family"), variant);
  assert.deepEqual(stretchOf(stretches, "inconclusive"), none);
  for (const [stretch, raw, rate] of [[variant, 0.5, 0.9], [variant, 0.8, 0.99], [none, 0.9, 0.5]] as const) {
    near(stretchConfidence(stretch, raw), rate, 0.03);
  }
  const pooled = fitStretch(verdicts.map(({ raw }) => raw), verdicts.map(({ isRight }) => isRight));
  assert.equal(pooled.slope, leastSlope);
});

Deno.test("whyUninformative() refuses a constant, although its calibration error is small, and confidences in no order", () => {
  const right = Array.from({ length: 500 }, (_, i) => i % 10 > 0);
  assert.match(whyUninformative(right.map(() => 0.9), right)!, /all 500 confidences are 0.900: a constant cannot tell/);
  const draws = Array.from(uniforms(12, 0, 500));
  assert.match(whyUninformative(draws, right)!, /with a probability of 0\.\d\d \(chance is 0\.5, 0\.6 is required\)/);
  assert.match(whyUninformative(right.map((is, i) => (is ? 0.4 : 0.6) + draws[i] / 10), right)!, /probability of 0.00/);
  assert.equal(whyUninformative(right.map((is, i) => (is ? 0.6 : 0.4) + draws[i] / 10), right), undefined);
  // Too few errors to tell.
  assert.equal(whyUninformative(draws.slice(0, 100), draws.slice(0, 100).map((_, i) => i > 2)), undefined);
});
