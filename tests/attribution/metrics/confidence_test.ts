/** AUROC, risk and coverage, and Brier score of confidences: hand-made cases, and what must hold for any. */
import assert from "node:assert/strict";
import {
  accuracyAtCoverage,
  aurc,
  auroc,
  brier,
  equalMassBins,
  equalMassCalibrationError,
  riskCoverage,
} from "../../../attribution/metrics/mod.ts";
import { near } from "./near.ts";

// The most confident four: right, right, wrong, right; then two ties, one of them right.
const confidence = [0.5, 0.9, 0.5, 0.8, 0.7, 0.6], right = [true, true, false, true, false, true];

Deno.test("auroc() counts pairs of right and wrong verdicts, ties half", () => {
  // Wrong at 0.7: above it 0.9 and 0.8 of four right ones. Wrong at 0.5: above it three, and one tie.
  near(auroc(confidence, right)!, (2 + 3.5) / 8);
  assert.equal(auroc([0.982, 0.982, 0.982], [true, false, true]), 0.5);
  assert.equal(auroc([0.9, 0.1], [true, false]), 1);
  assert.equal(auroc([0.1, 0.9], [true, false]), 0);
  assert.equal(auroc([0.1, 0.9], [true, true]), null);
  assert.equal(auroc([], []), null);
  assert.throws(() => auroc([0.1], []), /auroc: expected a confidence per verdict, got 1 for 0 verdicts/);
});

Deno.test("the risk-coverage curve is the mean over orders of ties", () => {
  const { coverage, risk } = riskCoverage(confidence, right);
  coverage.forEach((value, k) => near(value, (k + 1) / 6));
  [0, 0, 1 / 3, 1 / 4, 1.5 / 5, 2 / 6].forEach((value, k) => near(risk[k], value));
  near(aurc(confidence, right)!, (1 / 3 + 1 / 4 + 1.5 / 5 + 2 / 6) / 6);
  near(accuracyAtCoverage(confidence, right, 0.5)!, 2 / 3);
  near(accuracyAtCoverage(confidence, right, 0.7)!, 1 - 1.5 / 5); // 4.2 verdicts: five are needed
  near(accuracyAtCoverage(confidence, right, 1)!, 4 / 6);
  near(accuracyAtCoverage(confidence, right, 0)!, 1); // at least one
  assert.equal(accuracyAtCoverage([], [], 0.8), null);
  assert.throws(() => accuracyAtCoverage([1], [true], 1.1), /expected a coverage of 0 to 1, got 1.1/);
});

Deno.test("a constant confidence gains nothing: its AURC is the share of wrong verdicts at any coverage", () => {
  const constant = [0.7, 0.7, 0.7, 0.7, 0.7], verdicts = [true, false, true, true, false];
  near(aurc(constant, verdicts)!, 0.4);
  near(accuracyAtCoverage(constant, verdicts, 0.2)!, 0.6);
  near(equalMassCalibrationError(constant, verdicts), 0.1);
  assert.equal(equalMassBins(constant, verdicts).length, 1);
  near(brier([0.6, 0.6, 0.6, 0.6, 0.6], verdicts)!, 0.6 * 0.4);
});

Deno.test("any map that keeps the order keeps AUROC and AURC", () => {
  const mapped = confidence.map((c) => c ** 3 / 2);
  assert.equal(auroc(mapped, right), auroc(confidence, right));
  assert.equal(aurc(mapped, right), aurc(confidence, right));
});

Deno.test("brier() is the mean squared distance", () => {
  near(brier([0.9, 0.2], [true, false])!, (0.01 + 0.04) / 2);
  assert.equal(brier([], []), null);
});

Deno.test("bins of equal mass hold a tenth each, and ties together", () => {
  const distinct = Array.from({ length: 40 }, (_, i) => (i + 0.5) / 40);
  const bins = equalMassBins(distinct, distinct.map(() => true));
  assert.deepEqual(bins.map(({ count }) => count), new Array(10).fill(4));
  bins.forEach(({ confidence, accuracy }, i) => {
    near(confidence, (i + 0.5) / 10);
    assert.equal(accuracy, 1);
  });
  // Two halves of ties: two bins, each |mean - accuracy|.
  const halves = [0.2, 0.2, 0.8, 0.8], verdicts = [true, false, true, true];
  assert.deepEqual(equalMassBins(halves, verdicts).map(({ count }) => count), [2, 2]);
  near(equalMassCalibrationError(halves, verdicts), (0.3 + 0.2) / 2);
});

Deno.test("counts weigh verdicts as if they were repeated", () => {
  const counts = [2, 0, 1, 3, 1, 0];
  const repeat = <T>(values: readonly T[]) => values.flatMap((value, i) => new Array<T>(counts[i]).fill(value));
  const [c, r] = [repeat(confidence), repeat(right)];
  near(auroc(confidence, right, counts)!, auroc(c, r)!);
  near(aurc(confidence, right, counts)!, aurc(c, r)!);
  near(accuracyAtCoverage(confidence, right, 0.8, counts)!, accuracyAtCoverage(c, r, 0.8)!);
  near(brier(confidence, right, counts)!, brier(c, r)!);
  assert.deepEqual(equalMassBins(confidence, right, 3, counts), equalMassBins(c, r, 3));
  near(equalMassCalibrationError(confidence, right, 3, counts), equalMassCalibrationError(c, r, 3));
});
