/** Reliability bins and calibration error against hand-made cases. */
import assert from "node:assert/strict";
import { calibrationError, reliabilityBins } from "../../../attribution/metrics/mod.ts";

const near = (a: number, b: number, tolerance: number) => assert.ok(Math.abs(a - b) <= tolerance, `${a} and ${b}`);

Deno.test("calibrationError() is the mean distance of confidence and accuracy over bins", () => {
  const confidence = [0.95, 0.95, 0.95, 0.95, 0.55, 0.55], right = [true, true, true, false, true, false];
  assert.deepEqual(reliabilityBins(confidence, right).map(({ count, accuracy }) => [count, accuracy]), [[2, 0.5], [
    4,
    0.75,
  ]]);
  near(calibrationError(confidence, right), (4 * 0.2 + 2 * 0.05) / 6, 1e-12);
  assert.equal(reliabilityBins([1], [true])[0].count, 1);
});
