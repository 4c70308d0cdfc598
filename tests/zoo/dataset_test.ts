/** The dataset's writer: what it refuses before anything is drawn, and that a former dataset stays when it does. */
import assert from "node:assert/strict";
import { join } from "node:path";
import type { PhotoCrops } from "../../zoo/crops.ts";
import { writeDataset, writeDraw } from "../../zoo/dataset.ts";
import { type DatasetPlan, testOutliers } from "../../zoo/dataset_plan.ts";
import { matchedDataset } from "../../zoo/matched/dataset.ts";
import { photos, type Split } from "../../zoo/photos.ts";
import { tinyDataset } from "../../zoo/tiny/dataset.ts";
import { variantLabels } from "../labels.ts";
import { withFolder } from "../attribution/files.ts";
import { openCpuForTests } from "../core/devices.ts";

/** Flat crops of 4x4 pixels, 40 of every photograph of a split. */
function crops(split: Split): PhotoCrops {
  const of = photos.flatMap((photo, at) => photo.split === split ? Array<number>(40).fill(at) : []);
  const pixels = new Uint8Array(of.length * 4 * 4 * 3);
  return {
    count: of.length,
    side: 4,
    pixels,
    classes: new Uint8Array(of.length),
    photo: Uint16Array.from(of),
    fingerprint: "",
  };
}

async function material(dir: string, plan: DatasetPlan = tinyDataset) {
  return {
    device: await openCpuForTests({ threads: 1 }),
    plan,
    variants: [...variantLabels.rar, ...variantLabels.var],
    models: join(dir, "none"),
    outsider: (name: string) => join(dir, name),
    unseen: [crops("outlier"), crops("val")],
    train: crops("train"),
    out: join(dir, "out"),
    work: join(dir, "work"),
    log: () => {},
  };
}

Deno.test("writeDataset() with keep refuses a dataset of another recipe, and leaves it as it is", async () => {
  await withFolder(async (dir) => {
    const options = await material(dir);
    const table = join(options.out, "test_labels.csv"), former = "image_name,label,source\n0001.png,var16,var16\n";
    await Deno.mkdir(options.out);
    await Deno.writeTextFile(table, former);
    await assert.rejects(
      writeDataset({ ...options, keep: true }),
      /line 2: expected 0001\.png,rarxl,rarxl, got 0001\.png,var16,var16/,
    );
    assert.equal(await Deno.readTextFile(table), former);
    options.device.close();
  });
});

Deno.test("writeDraw() refuses the dataset's seeds, and a folder with a set of another seed", async () => {
  await withFolder(async (dir) => {
    const options = await material(dir), counts = { each: 1, outliers: 2 };
    await assert.rejects(
      writeDraw(options, { seed: 13, ...counts }),
      /another seed than the dataset's 11, 12, 13, got 13/,
    );
    // Without networks, drawing fails; the table of what is to be drawn is there.
    await assert.rejects(writeDraw(options, { seed: 21, ...counts }), /none/);
    const rows = (await Deno.readTextFile(join(options.out, "test_labels.csv"))).trim().split("\n").slice(1);
    assert.equal(rows.length, 8 + 2 * 10);
    assert.equal(rows.filter((row) => row.includes(",twin-rar,twin-rar/21/")).length, 2);
    await assert.rejects(writeDraw(options, { seed: 22, ...counts }), /belongs to a set of another recipe/);
    options.device.close();
  });
});

/** The rows of a table that a set would have, whose networks are not there. */
async function rowsOf(dir: string, write: () => Promise<void>): Promise<string[][]> {
  await assert.rejects(write(), /found nothing at this path/);
  const text = await Deno.readTextFile(join(dir, "out", "test_labels.csv"));
  return text.trim().split("\n").slice(1).map((row) => row.split(","));
}

Deno.test("matched: as many images as the real data has, a thousand or more to test, two in five of them outliers", () => {
  const { train, val, test } = matchedDataset, labels = variantLabels.rar.length + variantLabels.var.length;
  assert.deepEqual([train.each, val.each, val.outliers], [100, 50, { photograph: 50 }]);
  const outliers = Object.values(testOutliers(matchedDataset)).reduce((sum, n) => sum + n, 0);
  assert.ok(test.each * labels + outliers >= 1000);
  assert.equal(outliers / (test.each * labels + outliers), 0.4);
  const seeds = [matchedDataset, tinyDataset].flatMap(({ train, val, test }) => [train.seed, val.seed, test.seed]);
  assert.equal(new Set(seeds).size, seeds.length);
});

Deno.test("writeDraw() of a dataset that is not given on takes no photograph of val, and leaves out what it is told to", async () => {
  await withFolder(async (dir) => {
    const options = await material(dir, matchedDataset);
    const drawn = await rowsOf(
      dir,
      () => writeDraw(options, { seed: 3, each: 2, outliers: 40, without: ["twin-var"] }),
    );
    const sources = Map.groupBy(drawn, ([, , source]) => source);
    assert.deepEqual(
      new Set(sources.keys()),
      new Set(
        [...options.variants, ...Object.keys(matchedDataset.test.outliers)].filter((name) => name !== "twin-var"),
      ),
    );
    for (const [source, rows] of sources) assert.equal(rows.length, options.variants.includes(source) ? 2 : 40);
    // Every second photograph of those that nothing was trained on, whether or not it may be given on.
    const unseen = photos.filter(({ split }) => split !== "train");
    const pictures = new Set(
      ["photograph", "blurred-photograph"].flatMap((source) => sources.get(source)!.map(([, , , picture]) => picture)),
    );
    assert.equal(pictures.size, Math.floor(unseen.length / 2));
    assert.ok(unseen.some(({ id, ownEntry }) => ownEntry === false && pictures.has(id)));
    options.device.close();
  });
});
