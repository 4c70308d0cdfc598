/** The table of features as files, and its diagrams, on images whose structure is known. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { reliabilityFigure } from "../../../attribution/evaluation/verdict_charts.ts";
import { aucFigure, scoreMatrixFigure } from "../../../attribution/evaluation/feature_charts.ts";
import { featureFigures, readFeatureCsv, writeFigures } from "../../../attribution/evaluation/plots.ts";
import { featuresOf, featureTable, writeFeatureTable } from "../../../attribution/evidence/features.ts";
import { labels, officialLabels } from "../../labels.ts";
import { openSafetensors } from "../../../models/checkpoint/mod.ts";
import { measuredLines } from "../measured_lines.ts";
import { withFolder } from "../files.ts";

const items = measuredLines(6, 1).map(({ label, line }) => ({
  image: line.image,
  label,
  source: label,
  row: featuresOf(line),
}));

Deno.test("featuresOf() names signals by family and summaries by variant, and leaves single tokens out", () => {
  const { line } = measuredLines(1, 2)[0];
  const top = [{ class: 3, weight: 0.75 }, { class: 5, weight: 0.25 }];
  const summaries = { ...line.variants.rarb.summaries, "token.c0": -1, "membership.plain.loss": 4 };
  const row = featuresOf({
    ...line,
    classes: { rar: { top, cost: 1 } },
    variants: { ...line.variants, rarb: { ...line.variants.rarb, summaries } },
  });
  assert.equal(row["var.quantLoss"], line.families.var.quantLoss);
  assert.equal(row["var24.guided.mean"], line.variants.var24.summaries!["guided.mean"]);
  assert.equal(row["rar.class.weight"], 0.75);
  assert.ok(Math.abs(row["rar.class.entropy"] - 0.5623) < 1e-4);
  assert.equal(row["rarb.membership.plain.loss"], 4);
  assert.ok(!("rarb.token.c0" in row) && !("var.class.weight" in row));
});

Deno.test("featureTable() has the columns that all rows have", () => {
  const { "rarb.guided.mean": _, ...less } = items[0].row;
  const { names } = featureTable([{ ...items[0], row: less }, items[1]]);
  assert.ok(!names.includes("rarb.guided.mean") && names.includes("rarl.guided.mean"));
});

Deno.test("a table is read back from CSV as it was written, and is in the safetensors file", async () => {
  await withFolder(async (dir) => {
    const table = featureTable(items);
    const [csv, tensors] = await writeFeatureTable(table, officialLabels, join(dir, "features"));
    const back = await readFeatureCsv(csv, officialLabels);
    assert.deepEqual(back.names, table.names);
    assert.deepEqual(back.items, items);
    const source = await openSafetensors(tensors);
    try {
      assert.deepEqual(JSON.parse(source.metadata.get("columns")!), table.names);
      assert.deepEqual(source.tensors.get("features")!.shape, [items.length, table.names.length]);
      const values = await source.readF32("features");
      assert.equal(values[table.names.length + 2], Math.fround(items[1].row[table.names[2]]));
      assert.deepEqual([...(await source.readI32("label"))].slice(5, 7), [0, 1]);
    } finally {
      source.close();
    }
    await Deno.writeTextFile(csv, "image_name,label,source,a\nx.png,rarb,,1\ny.png,rare,,1\n");
    await assert.rejects(readFeatureCsv(csv, officialLabels), /line 3: expected one of rarb, .*, got rare/);
    await Deno.writeTextFile(csv, "image,label\n");
    await assert.rejects(
      readFeatureCsv(csv, officialLabels),
      /expected the columns image_name,label,source and features, got image,label/,
    );
  });
});

interface Cell {
  readonly value: readonly [number, number, number];
}
const cellsOf = (figure: { option: { series?: unknown } }) => (figure.option.series as { data: Cell[] }[])[0].data;

Deno.test("aucFigure() has the chance that a class lies above another, and its complement across the diagonal", () => {
  const cells = cellsOf(aucFigure(items, officialLabels, "var.encLoss"));
  assert.equal(cells.length, labels.length * (labels.length - 1));
  const at = (row: string, column: string) =>
    cells.find(({ value: [x, y] }) => labels[y] === row && labels[x] === column)!.value[2];
  assert.ok(at("rarb", "var16") > 0.95);
  assert.ok(Math.abs(at("rarb", "var16") + at("var16", "rarb") - 1) < 1e-12);
});

Deno.test("scoreMatrixFigure() has each scorer's mean over each class", () => {
  const cells = cellsOf(scoreMatrixFigure(items, officialLabels, "guided.mean"));
  assert.equal(cells.length, 9 * 8);
  const own = items.filter(({ label }) => label === "rarl").map(({ row }) => row["var20.guided.mean"]);
  const found = cells.find(({ value: [x, y] }) => y === 1 && x === 5)!.value[2];
  assert.ok(Math.abs(found - own.reduce((a, b) => a + b) / own.length) < 1e-12);
});

Deno.test("diagrams of features and reliability are written as SVG and PNG, and refuse what is not in the table", async () => {
  await withFolder(async (dir) => {
    const table = featureTable(items);
    const figures = featureFigures(table, officialLabels, ["rar.encLoss", "rarb.guided.mean"]);
    assert.deepEqual([...figures.keys()], ["distributions", "auc_rar.encLoss", "auc_rarb.guided.mean"]);
    figures.set(
      "reliability",
      reliabilityFigure([{
        title: "joint",
        curves: { risk: [], reliability: [{ confidence: 0.5, accuracy: 0.6, count: 5 }], tippett: null },
      }]),
    );
    const files = await writeFigures(dir, figures);
    assert.equal(files.length, 8);
    for (const file of files.filter((name) => name.endsWith(".svg"))) {
      assert.doesNotMatch(await Deno.readTextFile(file), /NaN|Infinity|undefined/);
    }
    assert.ok(featureFigures(table, officialLabels).has("scores_guided.mean"));
    assert.throws(
      () => featureFigures(table, officialLabels, ["rar.magic"]),
      /expected features of the table, got rar.magic/,
    );
    assert.throws(
      () => featureFigures(featureTable([{ image: "x", row: { a: 1 } }]), officialLabels),
      /expected images with labels, got none/,
    );
  });
});
