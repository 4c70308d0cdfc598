/** Tables other than the submission that have names of images: features, and what the page offers to download. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { parse } from "npm:csv-parse@6.1.0/sync";
import { readFeatureCsv } from "../../attribution/evaluation/plots.ts";
import { featureCsv } from "../../attribution/evidence/features.ts";
import { toCsv } from "../../attribution/service/page/results.js";
import { nameCell } from "../../util/names.ts";
import { withFolder } from "./files.ts";
import { officialLabels } from "../labels.ts";

const names = ["=cmd|' C'!A0.png", "+1", "-x.png", "@x", "\tx", "'=x", "a.png", "line\nbreak, and comma.png"];

Deno.test("a table of features has no formulas, and is read with the names that it was written from", async () => {
  const items = names.map((image) => ({ image, label: "rarb", source: `-${image}`, row: { "rar.quantLoss": -0.5 } }));
  const text = featureCsv({ names: ["rar.quantLoss"], items });
  const rows: string[][] = parse(text);
  assert.deepEqual(rows.slice(1).map(([image]) => image), names.map(nameCell));
  assert.ok(rows.every(([, , , value]) => ["rar.quantLoss", "-0.5"].includes(value)), "numbers stay numbers");
  await withFolder(async (dir) => {
    await Deno.writeTextFile(join(dir, "features.csv"), text);
    assert.deepEqual((await readFeatureCsv(join(dir, "features.csv"), officialLabels)).items, items);
  });
});

Deno.test("the page's table has the same cells for names", () => {
  const table: string[][] = parse(toCsv(names.map((name) => ({ name, error: `=${name}` }))));
  assert.deepEqual(table.slice(1).map(([name]) => name), names.map(nameCell));
  assert.deepEqual(table.slice(1).map((row) => row.at(-1)), names.map((name) => `'=${name}`));
});

Deno.test("the page's table has a column for every label that an image of any size can have", () => {
  const verdict = (scores: Record<string, number>) => ({
    name: "a.png",
    image: {
      evidence: {},
      verdict: { label: "outlier", finding: "none", confidence: 1, unsure: false, reasons: [], scores },
    },
  });
  const [head, ...rows]: string[][] = parse(
    toCsv([verdict({ small: 0.25, outlier: 0.75 }), verdict({ large: 0.5, outlier: 0.5 })]),
  );
  const first = head.indexOf("score_small");
  assert.deepEqual(head.slice(first), ["score_small", "score_large", "score_outlier", "error"]);
  assert.deepEqual(rows.map((row) => row.slice(first)), [["0.25", "", "0.75", ""], ["", "0.5", "0.5", ""]]);
});
