/** From readings to findings: each is said where it should be, with its reasons. */
import assert from "node:assert/strict";
import { type Posed, type Readings, strangerShare } from "../../../attribution/decision/classifiers/joint.ts";
import type { Rules } from "../../../attribution/decision/calibration_file.ts";
import { decide } from "../../../attribution/decision/methods.ts";
import { decideJoint } from "../../../attribution/decision/finding.ts";
import type { SearchEvidence } from "../../../attribution/evidence/evidence.ts";
import type { ImageFacts } from "../../../attribution/images/facts/facts.ts";
import { officialLabels } from "../../labels.ts";

/** Readings of an image with traces of RAR, ln of the ratio `trace`; the first variant has the probability `first`. */
function readings(trace: number, { known = 3, first = 0.97 } = {}): Readings {
  const reading = (family: "rar" | "var", trace: number, known: number) => {
    const [best, ...others] = officialLabels.variants[family];
    const rest = others.map((name): [string, number] => [name, (1 - first) / others.length]);
    return { trace, known, variants: Object.fromEntries([[best, first], ...rest]) };
  };
  return { rar: reading("rar", trace, known), var: reading("var", -5, 0) };
}
const as = (trace: number, options = {}): Posed[] => [{ weight: 1, readings: readings(trace, options) }];
const png: ImageFacts = { colours: 3000, noise: 1, contrast: 30 };
const webp: ImageFacts = {
  ...png,
  file: { format: "webp", lossless: false, depth: 8, transparency: false, pictures: 1 },
};
const misses = { untouched: { images: 98, missed: 1 }, webp: { images: 98, missed: 25 } };
const size = { width: 64, height: 64 };

Deno.test("decideJoint(): strong traces and one likely model are a variant", () => {
  const decision = decideJoint(as(5), { facts: png, ...size }, misses);
  assert.equal(decision.finding, "variant");
  assert.deepEqual([decision.label, decision.family], ["rarb", "rar"]);
  assert.equal(decision.missRate, undefined);
  // ln ratio = 5 - ln(1 - s + s / 2 e^(5 - 3)), s the share of strangers
  const ratio = (5 - Math.log(1 - strangerShare + strangerShare / 2 * (Math.exp(2) + Math.exp(-5)))) / Math.LN10;
  assert.ok(Math.abs(decision.log10LikelihoodRatio! - ratio) < 1e-9);
  assert.match(
    decision.reasons.join(" "),
    /as likely if rarb made the image as if it is an outlier: moderate support/,
  );
  const total = Object.values(decision.scores).reduce((a, b) => a + b);
  assert.ok(Math.abs(total - 1) < 1e-12);
});

Deno.test("decideJoint(): no traces are none where they would have been seen, and inconclusive where not", () => {
  const none = decideJoint(as(-5), { facts: png, ...size }, misses);
  assert.deepEqual([none.finding, none.label, none.family], ["none", "outlier", null]);
  assert.equal(none.missRate, 0.02);
  assert.match(none.reasons.join(" "), /Of generated images processed like this, 2 % are missed\./);
  const hidden = decideJoint(as(-5), { facts: webp, ...size }, misses);
  assert.deepEqual([hidden.finding, hidden.label, hidden.missRate], ["inconclusive", "outlier", 0.26]);
  assert.match(hidden.reasons.join(" "), /may be hidden by what happened to the image: WebP.* 26 % are missed\./);
  // Nobody has counted: nothing is claimed.
  assert.equal(decideJoint(as(-5), { facts: png, ...size }, undefined).missRate, undefined);
});

Deno.test("decideJoint(): without traces, an image that was cropped or lies in a canvas is inconclusive", () => {
  const search: SearchEvidence = { level: "quick", tried: 5, logPriorAsItIs: Math.log(0.1), poses: [] };
  const displaced = decideJoint(as(-5), { facts: png, search, ...size }, misses);
  assert.deepEqual([displaced.finding, displaced.label, displaced.missRate], ["inconclusive", "outlier", undefined]);
  assert.match(displaced.reasons.join(" "), /cropped, or lies within a canvas: the search may have missed its place/);
  const whole = decideJoint(
    as(-5),
    { facts: png, search: { ...search, logPriorAsItIs: Math.log(0.5) }, ...size },
    misses,
  );
  assert.equal(whole.finding, "none");
  // 0.2 / (0.2 + 0.8 x 0.08): one in twelve generated images of that kind is not found.
  assert.ok(Math.abs(displaced.raw - 0.7575757) < 1e-6 && whole.raw > 0.9, `${displaced.raw} ${whole.raw}`);
});

Deno.test("decideJoint(): weak traces name no model", () => {
  const { finding, label, family, scores } = decideJoint(as(0), { facts: png, ...size }, misses);
  assert.ok(scores.outlier > 0.1 && scores.outlier < 0.4);
  assert.deepEqual([finding, label, family], ["inconclusive", "rarb", null]);
});

Deno.test("decideJoint(): traces of a tokenizer without a known model are a family", () => {
  const stranger = decideJoint(as(5, { known: -5 }), { facts: png, ...size }, misses);
  assert.deepEqual([stranger.finding, stranger.label, stranger.family], ["family", "outlier", "rar"]);
  assert.match(stranger.reasons[0], /fits RAR's tokenizer, but its tokens are unlikely under every model/);
  const unsettled = decideJoint(as(5, { first: 0.45 }), { facts: png, ...size }, misses);
  assert.deepEqual([unsettled.finding, unsettled.label, unsettled.family], ["family", "rarb", "rar"]);
  assert.match(unsettled.reasons[0], /rarb \(4\d %\) and rarl \(1\d %\) are too close/);
});

Deno.test("decide(): nothing to measure is unsuitable by every method, whatever the numbers say", () => {
  const facts = { ...png, unsuitable: "no-texture" as const };
  const rules: Rules = { labels: officialLabels, families: {}, variantScale: 20, outlierPrior: 0.3 };
  for (const method of ["joint", "two-stage", "perplexity"]) {
    const verdict = decide(method, { facts, ...size, families: {}, variants: {} }, rules, 0.5);
    const { finding, label, confidence, unsure, log10LikelihoodRatio, reasons } = verdict;
    assert.deepEqual([finding, label, log10LikelihoodRatio], ["unsuitable", "outlier", 0]);
    assert.deepEqual([confidence, unsure], [0.3, true], "nothing is known but the prior");
    assert.deepEqual(reasons, ["The image has no texture in which a model could leave traces."]);
  }
});

Deno.test("decideJoint(): says in which pose it was found", () => {
  const pose = { left: 0, top: 0, width: 64, height: 64, turn: 0, mirror: true } as const;
  const posed = { pose, logPrior: -2.3, family: "rar", contrast: 1, families: {}, variants: {} };
  const search: SearchEvidence = { level: "quick", tried: 7, logPriorAsItIs: -0.4, poses: [posed] };
  const poses = [{ weight: 0.7, readings: readings(-5) }, { weight: 0.3, readings: readings(5) }];
  const found = decideJoint(poses, { facts: png, search, ...size }, misses);
  assert.deepEqual([found.finding, found.label], ["variant", "rarb"]);
  assert.deepEqual(found.pose, pose);
  assert.match(found.reasons.join(" "), /The image was found in another pose: mirrored\./);
  const [as0, as1] = poses.map(({ readings }) => ({ weight: 0.5, readings }));
  assert.equal(decideJoint([as1, as0], { facts: png, search, ...size }, misses).pose, undefined);
});
