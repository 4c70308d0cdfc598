/** Fitting the joint decision to images whose structure is known. jointScores() and others have tests of their own. */
import assert from "node:assert/strict";
import { fitJoint } from "../../../attribution/calibration/fit_joint.ts";
import { featuresOf } from "../../../attribution/evidence/features.ts";
import { officialLabels } from "../../labels.ts";
import { measuredLines } from "../measured_lines.ts";

const rows = (each: number, seed: number) =>
  measuredLines(each, seed).map(({ label, line }) => ({ label, row: featuresOf(line) }));
const near = (a: number, b: number, tolerance: number) => assert.ok(Math.abs(a - b) <= tolerance, `${a} and ${b}`);

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
