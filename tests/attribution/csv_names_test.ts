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
