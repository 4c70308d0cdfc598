/** The tables of docs/limits.md: figures with and without strangers, beside trivial rules, and their place in a document. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { judgedVerdict } from "../../../attribution/evaluation/judged.ts";
import { limitsMarkdown } from "../../../attribution/evaluation/limits.ts";
import { expectLimitsMarks, limitsMarks, writeLimits } from "../../../attribution/evaluation/limits_document.ts";
import { processingResults, untouched } from "../../../attribution/evaluation/processing.ts";
import { standardProcessing } from "../../../attribution/images/edits/mod.ts";
import { officialLabels as labels } from "../../labels.ts";
import { withFolder } from "../files.ts";

const images = [
  { imageName: "a.png", label: "rarb", source: "rarb" },
  { imageName: "b.png", label: "outlier", source: "photograph" },
  { imageName: "c.png", label: "outlier", source: "twin" },
];

/** A right verdict on the generated image and on the photograph; the twin gets a model's label. */
const verdicts = ["rarb", "outlier", "rarl"].map((label, i) =>
  judgedVerdict(images[i], { label, finding: label === "outlier" ? "none" : "variant", confidence: 0.95 })
);
const looks = images.map(({ imageName, label, source }) => ({
  ...{ format: "png", width: 64, height: 64, bytes: 8000, label, source, picture: imageName },
}));
const about = { "model set": "tiny 123", calibration: "456", "fitted on": "train a, val b", decides: "joint" };

function results(strangers?: readonly string[]) {
  return processingResults(
    [untouched, standardProcessing("jpeg75")],
    new Map([["none", verdicts], ["jpeg75", verdicts]]),
    { labels, bootstrap: { resamples: 20 }, strangers, looks: new Map([["none", looks], ["jpeg75", looks]]) },
  );
}

Deno.test("limitsMarkdown() has figures without strangers beside those of all images, and what trivial rules give", () => {
  const text = limitsMarkdown(results(["twin"]), { about, strangers: ["twin"] });
  assert.match(text, /^3 images of 3 pictures: 1 generated ones, 2 outliers\. Model set tiny 123, calibration 456/);
  assert.match(text, /^Without the outliers of twin: 2 images, 1 of them outliers\.$/m);
  const [ordinary, all] = text.split("### All images");
  assert.match(ordinary, /^\| JPEG 75 \| 2 \| 100\.0 % .*? \| 50\.0 % \| 0\.0 % /m);
  assert.match(all, /^\| JPEG 75 \| 3 \| 66\.7 % .*? \| 66\.7 % \| /m);
  // Share with a model's label, with the finding, and at a confidence of 0.9.
  assert.match(all, /^\| JPEG 75 \| 0\.0 %; 0\.0 %; 0\.0 % \| 100\.0 %; 100\.0 %; 100\.0 % \|$/m);
  assert.match(all, /^- labels right: Share of images whose label is right/m);
  const lines = text.split("\n");
  for (const [i, line] of lines.entries()) {
    if (!line.startsWith("| ") || !lines[i - 1].startsWith("| ")) continue;
    assert.equal(line.split(" | ").length, lines[i - 1].split(" | ").length, line);
  }
});

Deno.test("limitsMarkdown() has one set of tables where no source is named as strangers'", () => {
  const text = limitsMarkdown(results(), { about });
  assert.ok(!text.includes("Without the outliers"));
  assert.match(text, /### All images/);
});

Deno.test("writeLimits() replaces what is between the marks, and refuses a document without them", async () => {
  await withFolder(async (dir) => {
    const path = join(dir, "limits.md"), { begin, end } = limitsMarks;
    await Deno.writeTextFile(path, `# Limits\n\n${begin}\n\nold\n\n${end}\n\nafter\n`);
    await expectLimitsMarks(path);
    await writeLimits(path, "| new |\n");
    assert.equal(await Deno.readTextFile(path), `# Limits\n\n${begin}\n\n| new |\n\n${end}\n\nafter\n`);
    for (const text of ["no marks", begin, `${end}\n${begin}`, `${begin}${end}${begin}${end}`]) {
      await Deno.writeTextFile(path, text);
      await assert.rejects(expectLimitsMarks(path), /expected the lines <!-- measured tables begin -->/);
    }
  });
});
