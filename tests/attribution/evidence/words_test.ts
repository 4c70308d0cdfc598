/** Findings, likelihood ratios, poses and reasons in words. */
import assert from "node:assert/strict";
import { type Finding, findings } from "../../../attribution/evidence/evidence.ts";
import {
  describePose,
  findingWords,
  hiddenReason,
  labelMeaning,
  misfitReason,
  missedReason,
  outlierMeaning,
  poseReason,
  supportReason,
  titleOf,
  unknownModelReason,
  unsettledReason,
  unsuitableReason,
  verbalSupport,
  wordsOf,
} from "../../../attribution/evidence/words.ts";
import type { Pose } from "../../../attribution/images/pose.ts";

Deno.test("verbalSupport() has the scale of ENFSI's guideline, the same below 1 as above", () => {
  const strengths: [ratio: number, strength: string][] = [
    [2, "weak"],
    [9.99, "weak"],
    [10, "moderate"],
    [99, "moderate"],
    [100, "moderately strong"],
    [999, "moderately strong"],
    [1000, "strong"],
    [9999, "strong"],
    [10_000, "very strong"],
    [999_999, "very strong"],
    [1_000_000, "extremely strong"],
    [Infinity, "extremely strong"],
  ];
  for (const [ratio, strength] of strengths) {
    assert.equal(verbalSupport(Math.log10(ratio)), `${strength} support for a known model`, `${ratio}`);
    assert.equal(verbalSupport(-Math.log10(ratio)), `${strength} support for outlier`, `1/${ratio}`);
  }
  for (const ratio of [1 / 1.99, 1, 1.99]) {
    assert.equal(verbalSupport(Math.log10(ratio)), "no support for either side", `${ratio}`);
  }
  assert.throws(() => verbalSupport(NaN), RangeError);
});

Deno.test("every finding has a title of its own and one sentence", () => {
  assert.deepEqual(Object.keys(findingWords), findings);
  assert.equal(new Set(findings.map((finding) => findingWords[finding].title)).size, findings.length);
  for (const { explanation } of Object.values(findingWords)) assert.match(explanation, /^[A-Z][^.]*\.$/);
});

Deno.test("docs/limits.md explains findings and outlier in the same words", async () => {
  const text = (await Deno.readTextFile(new URL("../../../docs/limits.md", import.meta.url))).replaceAll(/\s+/g, " ");
  for (const finding of findings) {
    assert.ok(text.includes(`| \`${finding}\` | ${findingWords[finding].explanation} |`), finding);
  }
  assert.ok(text.includes(outlierMeaning));
});

Deno.test("titleOf() and labelMeaning() name model and family", () => {
  const title = (finding: Finding, label: string, family: string | null) => titleOf({ finding, label, family });
  assert.equal(title("variant", "rarxl", "rar"), "made by rarxl");
  assert.equal(title("family", "var16", "var"), "fits VAR's tokenizer, model not settled");
  assert.equal(title("family", "outlier", null), "fits a known tokenizer");
  assert.equal(title("none", "outlier", null), "no trace of a known model");
  assert.equal(title("inconclusive", "rarb", "rar"), "cannot tell");
  const meaning = (finding: Finding, label: string, family: string | null) => labelMeaning({ finding, label, family });
  assert.equal(meaning("none", "outlier", null), outlierMeaning);
  assert.equal(meaning("family", "outlier", "rar"), outlierMeaning);
  assert.equal(meaning("variant", "rarb", "rar"), "a model of the family RAR");
  assert.equal(meaning("variant", "x", "other"), "a model of the family other");
  assert.equal(meaning("family", "var16", "var"), "the likeliest model of the family VAR");
  assert.equal(meaning("inconclusive", "rarb", null), "the likeliest model, if one of this set made the image");
});

Deno.test("describePose() says how an image was mirrored, turned, cropped and pasted", () => {
  const words = (pose: Partial<Pose>, width = 64, height = 64) =>
    describePose({ left: 0, top: 0, width: 64, height: 64, turn: 0, mirror: false, ...pose }, { width, height });
  assert.deepEqual(words({}), []);
  assert.deepEqual(words({ mirror: true }), ["mirrored"]);
  assert.deepEqual(words({ turn: 90 }), ["turned right by 90 degrees"]);
  assert.deepEqual(words({ turn: 270 }), ["turned left by 90 degrees"]);
  assert.deepEqual(words({ turn: 180 }), ["turned by 180 degrees"]);
  assert.deepEqual(words({ turn: 180, mirror: true }), ["mirrored top to bottom"]);
  assert.deepEqual(words({ turn: 90, mirror: true }), ["mirrored", "turned right by 90 degrees"]);
  assert.deepEqual(words({ left: -3, top: -3 }, 58, 58), ["3 pixels cropped off each side"]);
  assert.deepEqual(words({ left: -3, top: -3 }, 61, 61), ["3 pixels cropped off left and top"]);
  assert.deepEqual(words({ left: -1, top: -5 }, 63, 59), ["1 pixel cropped off left, 5 pixels cropped off top"]);
  assert.deepEqual(words({ left: -2.04 }, 60), ["2 pixels cropped off left and right"]);
  assert.deepEqual(words({ left: -3 }), ["3 pixels cropped off left", "3 pixels added at right"]);
  assert.deepEqual(words({ left: 64, top: 64, mirror: true }, 192, 192), [
    "mirrored",
    "within a canvas at 64,64 (64x64 pixels)",
  ]);
  assert.deepEqual(words({ left: 64 }, 192), ["within a canvas at 64,0 (64x64 pixels)"]);
  assert.deepEqual(words({ width: 63.98 }), [], "less than a tenth of a pixel");
});

Deno.test("reasons are sentences with the numbers that they are given", () => {
  const size = { width: 8000, height: 10 };
  const pose: Pose = { left: -3, top: 0, width: 64, height: 64, turn: 0, mirror: true };
  const sentences: [sentence: string, expected: string][] = [
    [missedReason(0.26), "Of generated images processed like this, 26 % are missed."],
    [missedReason(0.004), "Of generated images processed like this, less than 1 % are missed."],
    [missedReason(1), "Of generated images processed like this, more than 99 % are missed."],
    [hiddenReason([]), "What happened to the image may hide traces."],
    [hiddenReason(["JPEG", "64 colours"]), "Traces may be hidden by what happened to the image: JPEG; 64 colours."],
    [
      supportReason("rarb", 3.4),
      "What was measured is 2,500 times as likely if rarb made the image as if it is an outlier: " +
      "strong support for a known model.",
    ],
    [
      supportReason("rarb", -0.5),
      "What was measured is 3.2 times as likely if it is an outlier as if rarb made the image: " +
      "weak support for outlier.",
    ],
    [
      supportReason("rarb", 8),
      "What was measured is more than a million times as likely if rarb made the image as if it is an outlier: " +
      "extremely strong support for a known model.",
    ],
    [
      supportReason("rarb", 0.01),
      "What was measured is about as likely if rarb made the image as if it is an outlier: no support for either side.",
    ],
    [misfitReason("rar", 0.04), "The image fits RAR's tokenizer worse than 96 % of RAR's own images."],
    [
      unknownModelReason("var"),
      "The image fits VAR's tokenizer, but its tokens are unlikely under every model of the family that this set has: " +
      "another model drew them, one of these with other settings of its sampler, or nobody (a picture that went through " +
      "the tokenizer).",
    ],
    [
      unsettledReason({ label: "var20", share: 0.41 }, { label: "var24", share: 0.37 }),
      "var20 (41 %) and var24 (37 %) are too close to choose between them.",
    ],
    [
      poseReason(pose, { width: 61, height: 64 }),
      "The image was found in another pose: mirrored; 3 pixels cropped off left.",
    ],
    [
      poseReason({ ...pose, left: 0.02, mirror: false }, { width: 64, height: 64 }),
      "The image was found moved by a fraction of a pixel.",
    ],
    [unsuitableReason("no-texture", size), "The image has no texture in which a model could leave traces."],
    [unsuitableReason("too-small", { width: 1, height: 1 }), "The image has 1x1 pixels, too few to measure."],
    [
      unsuitableReason("too-elongated", size),
      "The image has 8000x10 pixels: too little of it fits the square that is measured.",
    ],
  ];
  for (const [sentence, expected] of sentences) assert.equal(sentence, expected);
});

Deno.test("wordsOf() gathers the words of a verdict", () => {
  const size = { width: 64, height: 64 };
  const found = wordsOf({
    ...{ finding: "variant", label: "var16", family: "var", log10LikelihoodRatio: 4.6, ...size },
    pose: { left: 0, top: 0, width: 64, height: 64, turn: 0, mirror: true },
    facts: { colours: 64, noise: 0, contrast: 30 },
  });
  assert.deepEqual(found, {
    title: "made by var16",
    explanation: findingWords.variant.explanation,
    labelMeaning: "a model of the family VAR",
    support: "very strong support for a known model",
    history: ["64 colours"],
    found: ["mirrored"],
  });
  const none = wordsOf({ finding: "none", label: "outlier", family: null, ...size });
  const nothing = { finding: "unsuitable", label: "outlier", family: null, log10LikelihoodRatio: 0 } as const;
  assert.equal(wordsOf({ ...nothing, ...size }).support, null);
  assert.deepEqual([none.support, none.found, none.labelMeaning], [null, [], outlierMeaning]);
});
