/** A verdict as the API gives it. */
import assert from "node:assert/strict";
import * as v from "npm:valibot@1.5.0";
import { findingWords, outlierMeaning } from "../../../attribution/evidence/words.ts";
import type { MappedVerdict } from "../../../attribution/service/mapped_tracer.ts";
import { verdictSchema } from "../../../attribution/service/schemas.ts";
import { verdictBody } from "../../../attribution/service/verdict_body.ts";
import { measuredLine } from "../measured_lines.ts";

const { image: _, ...measured } = measuredLine("outlier", 1, 0);
const maps: MappedVerdict["maps"] = {
  quantisation: { family: "rar", width: 1, height: 1, values: [1] },
  surprise: null,
};
const decided = { confidence: 0.75, unsure: false, method: "joint", scores: {}, calibration: null } as const;
const reasons = ["So."];
const scores = { rarb: 0.25, outlier: 0.75 };

/** What the API answers, which must fit its schema. */
function bodyOf(evidence: MappedVerdict["evidence"], withMaps: boolean) {
  const body = verdictBody({ evidence, scores, maps }, withMaps);
  return v.parse(verdictSchema, { index: 0, name: "a.png", ...JSON.parse(JSON.stringify(body)) });
}

Deno.test("verdictBody() leads with the finding in words, and has null for what is not known", () => {
  const evidence = {
    ...measured,
    ...decided,
    finding: "none",
    label: "outlier",
    family: null,
    reasons,
  } as const;
  const { verdict, evidence: rest, maps } = bodyOf(evidence, false);
  assert.deepEqual(verdict, {
    finding: "none",
    title: "no trace of a known model",
    explanation: findingWords.none.explanation,
    label: "outlier",
    labelMeaning: outlierMeaning,
    ...{ confidence: 0.75, unsure: false, reasons },
    ...{ log10LikelihoodRatio: null, support: null, missRate: null, history: [], pose: null, found: [] },
    scores,
  });
  assert.equal(maps, undefined);
  assert.deepEqual([rest.method, rest.family, rest.sha256], ["joint", null, measured.sha256]);
  for (const name of ["finding", "label", "confidence", "reasons", "scores"]) assert.ok(!(name in rest), name);
});

Deno.test("verdictBody() has ratio, miss rate, pose and maps where they are known", () => {
  const pose = { left: -3, top: 0, width: 64, height: 64, turn: 0, mirror: true } as const;
  const known = { log10LikelihoodRatio: 3, missRate: 0.26, pose, width: 61, height: 64 };
  const evidence = { ...measured, ...decided, finding: "variant", label: "rarb", family: "rar", reasons } as const;
  const { verdict, evidence: rest, maps: shown } = bodyOf({ ...evidence, ...known }, true);
  assert.deepEqual([verdict.title, verdict.support], ["made by rarb", "strong support for a known model"]);
  assert.deepEqual([verdict.log10LikelihoodRatio, verdict.missRate, verdict.pose], [3, 0.26, pose]);
  assert.deepEqual(verdict.found, ["mirrored", "3 pixels cropped off left"]);
  assert.deepEqual(shown, maps);
  assert.ok(!("pose" in rest) && !("missRate" in rest));
});
