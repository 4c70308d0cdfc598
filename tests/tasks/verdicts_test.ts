/** What `attribute` prints for people: a row per verdict, and what the findings mean. */
import assert from "node:assert/strict";
import type { Evidence } from "../../attribution/evidence/evidence.ts";
import { findingWords } from "../../attribution/evidence/words.ts";
import { coloured, findingSummary, imageWidth, verdictHead, verdictRow } from "../../tasks/cli/verdicts.ts";

const signals = { quantLoss: 0.25, encLoss: 1.5, encLossUncalibrated: 0.1, combined: 0.375, quantErrorTail: 0.5 };

function evidence(more: Partial<Evidence>): Evidence {
  return {
    ...{ image: "a.png", label: "rarxl", finding: "variant", confidence: 0.9824, unsure: false, family: "rar" },
    ...{ method: "joint", scores: { rarxl: 1 }, reasons: [], sha256: "a".repeat(64), width: 64, height: 64 },
    ...{ modelSet: "b".repeat(64), calibration: null, families: { rar: signals }, variants: {} },
    settings: { condition: "none", quantization: "greedy", signals: "core", device: "cpu", weightType: "f32" },
    timings: { read: 1, families: 2, variants: 3 },
    ...more,
  };
}

/** The row in its columns, which have two blanks or more between them. */
const columns = (more: Partial<Evidence>) => verdictRow(evidence(more)).trimEnd().split(/ {2,}/);

Deno.test("verdictRow() has name, finding, label, confidence and likelihood ratio, then words", () => {
  assert.deepEqual(columns({}), ["a.png", "variant", "rarxl", "0.982", "-"]);
  assert.deepEqual(columns({ log10LikelihoodRatio: 4.62, unsure: true }), [
    ...["a.png", "variant", "rarxl", "0.982", "+4.6", "unsure; very strong support for a known model"],
  ]);
  assert.equal(columns({ log10LikelihoodRatio: -0.04 })[4], "0.0");
  const facts = {
    ...{ colours: 5000, noise: 0.2, contrast: 30 },
    file: {
      ...{ format: "jpeg", depth: 8, transparency: false, pictures: 1, software: "a\x1b[31m" } as const,
      jpeg: { quality: 60, subsampling: "4:2:0", progressive: false },
    },
  };
  assert.equal(columns({ facts })[5], "JPEG of quality 60, 4:2:0; written by a\\u001b[31m");
  const pose = { left: -3, top: -3, width: 64, height: 64, turn: 90, mirror: true } as const;
  assert.equal(
    columns({ pose, width: 58, height: 58 })[5],
    "found mirrored, turned right by 90 degrees, 3 pixels cropped off each side",
  );
});

Deno.test("verdictRow() says how often traces are missed, and why nothing was measured", () => {
  const outlier = { label: "outlier", family: null, missRate: 0.26, log10LikelihoodRatio: -1.2 };
  const missed = "26 % of generated images like this are missed";
  assert.deepEqual(columns({ ...outlier, finding: "inconclusive" }).slice(1), [
    ...["inconclusive", "outlier", "0.982", "-1.2", `moderate support for outlier; ${missed}`],
  ]);
  assert.match(verdictRow(evidence({ ...outlier, finding: "none" })), new RegExp(`; ${missed}\\n$`));
  assert.doesNotMatch(verdictRow(evidence({ ...outlier, finding: "variant" })), /missed/);
  const reasons = ["The image has 1x1 pixels, too few to measure."];
  assert.equal(columns({ ...outlier, finding: "unsuitable", reasons })[5], reasons[0].slice(0, -1));
});

Deno.test("verdictRow() escapes control characters of names and reasons, and keeps rows of unreadable files", () => {
  assert.match(verdictRow(evidence({ image: "e\x1b[31m\n.png" })), /^e\\u001b\[31m\\n\.png +variant/);
  assert.match(verdictRow(evidence({ finding: "unsuitable", reasons: ["a\x07b"] })), /a\\u0007b\n$/);
  const error = { reason: "empty", message: "0 bytes" };
  assert.match(verdictRow({ image: "b.png", label: "unreadable", error }), /^b\.png +unreadable( +-){3} +0 bytes\n$/);
});

Deno.test("verdictHead() and verdictRow() have columns one below the other, as wide as the names of the images", () => {
  const names = ["a.png", "a rather long name of an image.png"];
  const layout = { imageWidth: imageWidth(names) };
  assert.equal(layout.imageWidth, names[1].length);
  assert.equal(imageWidth(["a.png"]), 12);
  assert.equal(imageWidth(["n".repeat(300)]), 48, "one long name does not move all others");
  const head = verdictHead(layout);
  for (const image of names) {
    const row = verdictRow(evidence({ image, log10LikelihoodRatio: 4.62, unsure: true }), layout);
    assert.equal(row.indexOf("variant"), head.indexOf("finding"));
    assert.equal(row.indexOf("rarxl"), head.indexOf("label"));
    assert.equal(row.indexOf("+4.6") + 4, head.indexOf("log10 LR") + 8);
    assert.equal(row.indexOf("unsure"), head.indexOf("what else is known"));
  }
});

Deno.test("coloured rows are the plain ones with colours, which no name can add to", () => {
  const styled = { paint: coloured };
  const line = evidence({ image: "e\x1b[31m.png", unsure: true });
  const row = verdictRow(line, styled);
  assert.ok(row.includes("\x1b[1mvariant     \x1b[0m"), row);
  assert.ok(row.includes("\x1b[33m     0.982\x1b[0m"), row);
  // deno-lint-ignore no-control-regex -- these are what is looked for
  assert.equal(row.replaceAll(/\x1b\[\d+m/g, ""), verdictRow(line));
});

Deno.test("findingSummary() counts and explains the findings of a run, files that could not be read, and outlier", () => {
  const text = findingSummary({ findings: { none: 12, variant: 1 }, labels: { outlier: 12, rarb: 1, unreadable: 2 } });
  assert.deepEqual(text.trimEnd().split("\n").map((line) => line.slice(0, 30)), [
    `  variant         1  ${findingWords.variant.explanation}`.slice(0, 30),
    `  none           12  ${findingWords.none.explanation}`.slice(0, 30),
    "  unreadable      2  The file could not be read.".slice(0, 30),
    "  label outlier  12  Not made by a model of this set".slice(0, 30),
  ]);
  assert.equal(findingSummary({ findings: {}, labels: {} }), "");
});
