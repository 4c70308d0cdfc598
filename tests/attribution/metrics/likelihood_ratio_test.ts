/** Costs of likelihood ratios: hand-made cases, and what must hold for any. */
import assert from "node:assert/strict";
import { cllr, minCllr, misleadingShares, tippett } from "../../../attribution/metrics/mod.ts";
import { near } from "./near.ts";

type Logs = { members: number[]; outliers: number[] };

/** The arguments of the functions. */
function lists({ members, outliers }: Logs): [number[], boolean[]] {
  return [[...members, ...outliers], [...members.map(() => true), ...outliers.map(() => false)]];
}

Deno.test("cllr() is half the mean bits of each side", () => {
  // LR 3 of a member: log2(4/3); LR 1 of a member: 1; LR 1/3 of an outlier: log2(4/3).
  const logs = { members: [Math.log10(3), 0], outliers: [-Math.log10(3)] };
  near(cllr(...lists(logs))!, ((Math.log2(4 / 3) + 1) / 2 + Math.log2(4 / 3)) / 2);
  near(cllr(...lists({ members: [0, 0, 0], outliers: [0] }))!, 1);
  assert.equal(cllr(...lists({ members: [Infinity, 400], outliers: [-Infinity] })), 0);
  assert.equal(cllr(...lists({ members: [-Infinity], outliers: [0] })), Infinity);
  near(cllr(...lists({ members: [-400], outliers: [-400] }))!, 400 / Math.log10(2) / 2, 1e-9);
  assert.equal(cllr(...lists({ members: [], outliers: [1] })), null);
});

Deno.test("minCllr() is what no rising map can mend", () => {
  assert.equal(minCllr(...lists({ members: [5, -1], outliers: [-2, -3, -4] })), 0); // separated, however badly calibrated
  near(minCllr(...lists({ members: [1, 1], outliers: [1, 1, 1] }))!, 1); // nothing to tell apart
  // Rising: outlier, {member, outlier} pooled by ties, member: half of each side has p = 1/2, one bit each.
  near(minCllr(...lists({ members: [0, 1], outliers: [-1, 0] }))!, 0.5);
  assert.equal(minCllr(...lists({ members: [1], outliers: [] })), null);
});

Deno.test("Cllr is never below its minimum, which no rising map changes", () => {
  let state = 7;
  const random = () => (state = state * 16807 % 2147483647) / 2147483647;
  const draw = (shift: number) => Array.from({ length: 50 }, () => shift + 3 * (random() - random()));
  const logs = { members: draw(0.6), outliers: draw(-0.6) };
  const least = minCllr(...lists(logs))!;
  assert.ok(least > 0.1 && least <= cllr(...lists(logs))!);
  const map = (values: readonly number[]) => values.map((x) => x ** 3 / 10 + 2);
  near(minCllr(...lists({ members: map(logs.members), outliers: map(logs.outliers) }))!, least);
});

Deno.test("counts weigh LRs as if they were repeated", () => {
  const logs = { members: [1, -0.5, 0.2], outliers: [-1, 0.5] };
  const counts = [2, 0, 1, 1, 3];
  const repeated = { members: [1, 1, 0.2], outliers: [-1, 0.5, 0.5, 0.5] };
  near(cllr(...lists(logs), counts)!, cllr(...lists(repeated))!);
  near(minCllr(...lists(logs), counts)!, minCllr(...lists(repeated))!);
  assert.throws(() => cllr([1], []), /cllr: expected lists of one length, got 1 ratios of 0 images/);
});

Deno.test("shares of misleading LRs, and Tippett curves, count by hand", () => {
  const logs = { members: [-2, -0.5, 0, 3], outliers: [-1, 0, 0.5, 1, 1.5] };
  assert.deepEqual(misleadingShares(...lists(logs)), {
    membersBelow1: 0.5,
    membersBelow01: 0.25,
    outliersAbove1: 0.6,
    outliersAbove10: 0.2,
  });
  assert.equal(misleadingShares(...lists({ members: [], outliers: [1] })).membersBelow1, null);
  assert.deepEqual(tippett([2, -1, 2, 0]), { log10: [-1, 0, 2], share: [1, 0.75, 0.5] });
  assert.deepEqual(tippett([]), { log10: [], share: [] });
});
