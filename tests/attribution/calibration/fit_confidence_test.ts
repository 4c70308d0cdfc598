/** Confidences against the rates that they were drawn with. */
import assert from "node:assert/strict";
import { fitStretch } from "../../../attribution/calibration/fit_confidence.ts";
import { stretchConfidence } from "../../../attribution/decision/classifiers/confidence.ts";
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
