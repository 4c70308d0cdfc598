/** Classifiers end to end as processes: calibrate fits them, attribute decides by them, features and plot show the numbers. */
import assert from "node:assert/strict";
import { dirname, join } from "node:path";
import { readFeatureCsv } from "../../attribution/evaluation/plots.ts";
import { encodePng } from "../../attribution/images/decode.ts";
import { labels, officialLabels } from "../labels.ts";
import { withFolder } from "../attribution/files.ts";
import { goldenImage } from "../attribution/golden_image.ts";
import { copyStandIns, standIns } from "../sets.ts";
import { runTask } from "./processes.ts";

const manifest = JSON.parse(await Deno.readTextFile(join(standIns, "manifest.json")));
const size: number = manifest.families.rar.tokenizer.config.resolution;
const device = ["--models", "models", "--device", "cpu"];
const journal = ["--journal", "j.sqlite"];

/** Folders train, val and test, and a copy of the stand-ins without calibration in `models`. */
async function prepare(dir: string): Promise<void> {
  let n = 0;
  // Images of a label are alike, so that there is something to find.
  const write = async (name: string) => {
    const label = labels.find((label) => name.includes(`/${label}/`));
    const image = goldenImage(label === undefined ? 0 : labels.indexOf(label), size, size);
    n++;
    const data = image.data.map((value, i) => (i + n) % 97 === 0 ? value ^ 1 : value);
    await Deno.mkdir(dirname(join(dir, name)), { recursive: true });
    await Deno.writeFile(join(dir, name), await encodePng({ ...image, data }));
  };
  for (const label of labels) {
    if (label !== "outlier") { for (let i = 0; i < 4; i++) await write(`train/${label}/${i}.png`); }
    await write(`val/${label}/0.png`);
    if (label === "outlier") await write("val/outlier/1.png");
  }
  for (const name of ["a", "b"]) await write(`test/${name}.png`);
  await copyStandIns(join(dir, "models"));
  const { calibration: _, ...rest } = manifest;
  await Deno.writeTextFile(join(dir, "models", "manifest.json"), JSON.stringify(rest));
}

Deno.test("calibrate fits classifiers, attribute decides by joint, features and plot show what is measured", async () => {
  await withFolder(async (dir) => {
    await prepare(dir);
    const fit = await runTask(
      "calibrate",
      dir,
      ...["--train", "train", "--val", "val", "--extras", "membership,prada", "--prada-epochs", "2", "--copies", "0"],
      ...[...device, ...journal],
    );
    assert.equal(fit.code, 0, fit.stderr);
    assert.match(fit.stderr, /calibrate: measured 82 images, kept in j\.sqlite/);
    assert.match(fit.stdout, /Variants that are found[^]*two-stage +[\d.]+ %[^]*membership +[\d.]+ %/);
    const { classifiers } = JSON.parse(await Deno.readTextFile(join(dir, "models", "calibration.json")));
    assert.equal(classifiers.condition, "infer");
    assert.equal(Object.keys(classifiers.prada).length, 8);

    for (const method of ["joint", "prada"]) {
      const asked = method === "joint" ? [] : ["--method", method];
      const out = ["--out", `${method}.csv`];
      const said = await runTask(
        "attribute",
        dir,
        "test",
        "--json",
        "--report",
        `runs/${method}`,
        ...asked,
        ...out,
        ...device,
      );
      assert.equal(said.code, 0, said.stderr);
      const lines = (await Deno.readTextFile(join(dir, "runs", method, "evidence.jsonl"))).trim().split("\n");
      for (const line of lines.map((text) => JSON.parse(text))) {
        assert.equal(line.method, method);
        assert.equal(Object.keys(line.scores).length, 9);
        assert.ok((labels as readonly string[]).includes(line.label));
      }
    }

    // What calibrate has measured, no other task measures again.
    const off = ["--search", "off"];
    const again = await runTask("attribute", dir, "val", "--report", "runs/val", ...off, ...device, ...journal);
    assert.equal(again.code, 0, again.stderr);
    const { images } = JSON.parse(await Deno.readTextFile(join(dir, "runs/val/summary.json")));
    assert.deepEqual(images, { total: 10, done: 10, unreadable: 0, recalled: 10, computed: 0 });
    const judged = await runTask("evaluate", dir, "--val", "val", "--resamples", "10", ...off, ...device, ...journal);
    assert.equal(judged.code, 0, judged.stderr);
    assert.match(judged.stderr, /evaluate: nothing had to be measured, all of it is in j\.sqlite/);
    const same = await runTask("features", dir, "--labelled", "val", "--extras", "membership", ...device, ...journal);
    assert.equal(same.code, 0, same.stderr);
    assert.match(same.stderr, /features: nothing had to be measured, all of it is in j\.sqlite/);

    const args = ["--method", "joint", "--condition", "none", "--out", "refused.csv"];
    const refused = await runTask("attribute", dir, "test", ...args, ...device);
    assert.equal(refused.code, 1);
    assert.match(
      refused.stderr,
      /--condition none: the classifiers were fitted to likelihoods under --condition infer/,
    );

    const { code, stdout, stderr } = await runTask(
      "features",
      dir,
      "--labelled",
      "val",
      "--extras",
      "prada",
      ...device,
      ...journal,
    );
    assert.equal(code, 0, stderr);
    assert.deepEqual(stdout.trim().split("\n"), ["runs/features/features.csv", "runs/features/features.safetensors"]);
    const table = await readFeatureCsv(join(dir, "runs/features/features.csv"), officialLabels);
    assert.equal(table.items.length, 10);
    for (const name of ["rar.encLoss", "var.class.weight", "var30.guided.mean", "rarb.prada.score"]) {
      assert.ok(table.names.includes(name), name);
    }
    for (const [what, of] of [["features", "runs/features/features.csv"], ["prada", "models"]]) {
      const drawn = await runTask("plot", dir, what, of, "--out", "plots");
      assert.equal(drawn.code, 0, drawn.stderr);
      for (const file of drawn.stdout.trim().split("\n")) {
        assert.ok((await Deno.stat(join(dir, file))).size > 500, file);
      }
    }
  });
});

Deno.test("features refuses what it cannot do before work starts", async () => {
  await withFolder(async (dir) => {
    const refuse = async (...args: string[]) => {
      const { code, stderr } = await runTask("features", dir, ...args);
      assert.equal(code, 1);
      return stderr;
    };
    assert.match(await refuse(), /features: expected either files and folders, or --labelled DIR/);
    assert.match(await refuse("--labelled", "none"), /features: --labelled none: .*/);
    assert.match(await refuse("x", "--extras", "magic"), /features: --extras: expected membership or prada, got magic/);
    assert.match((await runTask("features", dir, "--help")).stdout, /usage: deno task features/);
  });
});
