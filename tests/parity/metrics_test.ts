/** Metrics against the reference's (case 09): every set, both directions. */
import assert from "node:assert/strict";
import { ParityCase } from "../../parity/case.ts";
import { isMetricsCase, metrics } from "../../parity/kinds.ts";

const path = "tests/fixtures/golden/case09_metrics.json";

Deno.test("parity: every metric of case09 agrees with the reference in float64", async () => {
  const parityCase = (await ParityCase.open(path))!;
  assert.ok(isMetricsCase(parityCase));
  const results = [...metrics(parityCase)];
  assert.deepEqual(results.filter(({ verdict }) => verdict !== "ok"), []);
  assert.equal(results.length, 12 * 2 * 8);
});

Deno.test("parity: case09 fails on a wrong rate, a missing point and a metric that nobody computes", async () => {
  const parityCase = (await ParityCase.open(path))!;
  const [set] = structuredClone(parityCase.manifest.sets);
  set.results.members_lower.auc += 1e-6;
  set.results.members_lower.roc_fpr.pop();
  set.results.members_lower.f1 = 1;
  set.results.members_higher.tpr_at_fpr["0.01"] = 0.5;
  const changed = Object.assign(Object.create(parityCase), { manifest: { ...parityCase.manifest, sets: [set] } });
  const verdicts = new Map([...metrics(changed)].map(({ tensor, verdict }) => [tensor, verdict]));
  assert.deepEqual([...verdicts].filter(([, verdict]) => verdict !== "ok"), [
    ["separated members_lower auc", "FAIL"],
    ["separated members_lower roc_fpr", "FAIL"],
    ["separated members_lower f1", "MISSING"],
    ["separated members_higher tpr_at_fpr", "FAIL"],
  ]);
});
