/** Verdicts by processing: copies, rows, curves, the tables of the report. */
import assert from "node:assert/strict";
import { parse } from "npm:csv-parse@6.1.0/sync";
import { figureNames } from "../../../attribution/evaluation/figures.ts";
import { figure } from "../../../attribution/evaluation/html.ts";
import { judgedVerdict } from "../../../attribution/evaluation/judged.ts";
import { curvesOf, processedCopies, processingResults, untouched } from "../../../attribution/evaluation/processing.ts";
import { riskFigure, tippettFigure } from "../../../attribution/evaluation/verdict_charts.ts";
import {
  processingCsv,
  processingSections,
  sourcesCsv,
  sourceSection,
} from "../../../attribution/evaluation/verdict_report.ts";
import { standardProcessing } from "../../../attribution/images/edits/mod.ts";
import { officialLabels as labels } from "../../labels.ts";
import { near } from "../metrics/near.ts";

const images = [
  { path: "/x/a.png", imageName: "a.png", label: "rarb", source: "rarb" },
  { path: "/x/b.png", imageName: "b.png", label: "outlier", source: "photograph", picture: "p1" },
];
const jpeg = standardProcessing("jpeg75");
const options = { labels, bootstrap: { resamples: 20 } };

/** Verdicts on both images; the generated one gets `label`. */
const said = (label: string, log: number) => [
  judgedVerdict(images[0], { label, finding: label === "outlier" ? "none" : "variant", ...numbers(0.9, log) }),
  judgedVerdict(images[1], { label: "outlier", finding: "none", ...numbers(0.95, -2) }),
];
const numbers = (confidence: number, log10LikelihoodRatio: number) => ({ confidence, log10LikelihoodRatio });
const results = processingResults(
  [untouched, jpeg],
  new Map([["none", said("rarb", 3)], ["jpeg75", said("outlier", -1)]]),
  options,
);

Deno.test("processedCopies() has every image after every processing, with its edits", () => {
  const copies = processedCopies(images, [jpeg, standardProcessing("mirrored")]);
  assert.deepEqual(copies.map(({ input }) => input.imageName), [
    "jpeg75/a.png",
    "jpeg75/b.png",
    "mirrored/a.png",
    "mirrored/b.png",
  ]);
  assert.deepEqual(copies[0].input.edits, [{ name: "jpeg", quality: 75 }]);
  assert.equal(copies[3].original, images[1]);
  assert.equal(copies[3].group, "mirrored");
});

Deno.test("processingResults() has a row per processing, and one for all together", () => {
  assert.deepEqual(results.map(({ name, edits, all }) => [name, edits, all.images]), [
    ["none", "", 2],
    ["jpeg75", "jpeg:75", 2],
    ["all", "", 4],
  ]);
  const [none, processed, all] = results.map((row) => row.all.figures);
  assert.deepEqual([none.accuracy.value, processed.accuracy.value, all.accuracy.value], [1, 0.5, 0.75]);
  assert.deepEqual([none.exonerated.value, processed.exonerated.value], [0, 1]);
  assert.equal(all.surelyExonerated.value, 0.5);
  // Two copies of two pictures count as two trials.
  assert.equal(results[2].all.pictures, 2);
  assert.deepEqual(Object.keys(results[0].sources), ["photograph"]);
  assert.equal(processingResults([untouched], new Map([["none", said("rarb", 3)]]), options).length, 1);
});

Deno.test("curvesOf() has points of few hundred verdicts at most, from the first to the last", () => {
  const many = Array.from({ length: 1000 }, (_, i) => ({ ...said("rarb", 3)[i % 2], confidence: i / 1000 }));
  const { risk, reliability, tippett } = curvesOf(many);
  assert.equal(risk.length, 200);
  near(risk[0][0], 1 / 1000);
  assert.deepEqual(risk.at(-1), [1, 0]);
  assert.deepEqual(reliability.map(({ count }) => count), new Array(10).fill(100));
  assert.deepEqual(tippett, { members: { log10: [3], share: [1] }, outliers: { log10: [-2], share: [1] } });
  assert.equal(curvesOf(many.map(({ log10LikelihoodRatio: _, ...item }) => item)).tippett, null);
});

Deno.test("tables as CSV have a row per processing, a column per figure and its bounds", () => {
  const rows: Record<string, string>[] = parse(processingCsv(results), { columns: true });
  assert.deepEqual(rows.map(({ processing, accuracy }) => [processing, Number(accuracy)]), [
    ["none", 1],
    ["jpeg75", 0.5],
    ["all", 0.75],
  ]);
  for (const name of figureNames) assert.ok(`${name}_low` in rows[0] && `${name}_high` in rows[0], name);
  assert.equal(rows[0].edits, "");
  const sources: Record<string, string>[] = parse(sourcesCsv(results)!, { columns: true });
  assert.deepEqual(sources.map(({ source, processing, accused }) => [source, processing, accused]), [
    ["photograph", "none", "0"],
    ["photograph", "jpeg75", "0"],
    ["photograph", "all", "0"],
  ]);
});

Deno.test("sections explain what they show, outlier included", async () => {
  const sections = [...await processingSections(results), sourceSection(results)!];
  assert.deepEqual(sections.map(({ title }) => title), [
    "Findings by processing",
    "Confidence by processing",
    "Likelihood ratios by processing",
    "Sources of outliers",
  ]);
  for (const { html } of sections) {
    assert.ok(html.includes("An outlier is an image that no model of the set made"));
    assert.ok(html.includes("JPEG 75"));
  }
  assert.equal(sections[1].html.match(/<figure\b/g)?.length, 2);
});

Deno.test("riskFigure() and tippettFigure() draw, with names on their axes", async () => {
  for (const found of [riskFigure(results), tippettFigure(results)!]) {
    assert.match(await figure(found, "a caption"), /<svg/);
    const { xAxis, yAxis } = found.option as Record<string, { name?: string }>;
    assert.ok(xAxis.name && yAxis.name);
  }
  assert.equal(tippettFigure([{ title: "x", curves: { ...results[0].curves, tippett: null } }]), null);
});
