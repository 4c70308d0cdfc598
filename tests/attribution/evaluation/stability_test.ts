/** Verdicts under light changes, counted by hand. */
import assert from "node:assert/strict";
import { parse } from "npm:csv-parse@6.1.0/sync";
import { judgedVerdict } from "../../../attribution/evaluation/judged.ts";
import { lightChanges, stabilityCsv, stabilityOf } from "../../../attribution/evaluation/stability.ts";
import { checkEdit, formatEdits, parseEdits } from "../../../attribution/images/edits/mod.ts";
import type { Finding } from "../../../attribution/evidence/evidence.ts";

const judged = (image: string, label: string, verdict: string, confidence: number, finding: Finding = "variant") =>
  judgedVerdict({ imageName: image, label, source: label }, { label: verdict, finding, confidence });

Deno.test("an image is unstable if label or finding is another one after any change", () => {
  const verdicts = [
    judged("a", "rarb", "rarb", 0.9),
    judged("b", "rarb", "rarl", 0.6),
    judged("c", "outlier", "outlier", 0.7, "none"),
  ];
  const found = stabilityOf(
    verdicts,
    new Map([
      ["noise:0.5:1", [judged("a", "rarb", "rarb", 0.8), judged("b", "rarb", "rarb", 0.5)]],
      ["jpeg:98:444", [judged("a", "rarb", "rarb", 0.95), judged("c", "outlier", "outlier", 0.4, "inconclusive")]],
    ]),
  );
  assert.deepEqual(found.images.map(({ changedBy, leastConfidence }) => [changedBy, leastConfidence]), [
    [[], 0.8],
    [["noise:0.5:1"], 0],
    [["jpeg:98:444"], 0.4],
  ]);
  assert.equal(found.unstable.value, 2 / 3);
  assert.equal(found.unstableRight.value, 1 / 2);
  assert.equal(found.stableRight.value, 1);
  const rows: Record<string, string>[] = parse(stabilityCsv(found), { columns: true });
  assert.deepEqual(rows.map(({ unstable, changes, changed }) => [unstable, changes, changed].join()), [
    "0,2,0",
    "1,2,1",
    "1,2,1",
  ]);
});

Deno.test("light changes are distinct, and edits that exist", () => {
  const changes = lightChanges(12);
  assert.equal(new Set(changes.map(({ name }) => name)).size, 12);
  for (const { name, edits } of changes) {
    edits.forEach(checkEdit);
    assert.equal(formatEdits(parseEdits(name)), name);
  }
  assert.deepEqual(lightChanges(3), changes.slice(0, 3));
});
