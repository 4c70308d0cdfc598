/** `deno task evaluate` as a process: what it prints, writes and keeps; what it and `deno task calibrate` refuse. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { standIns } from "../sets.ts";
import { both, models, names, withData, writeAll } from "./label_folders.ts";
import { root, runTask } from "./processes.ts";
import { PartFile } from "../../util/files.ts";

Deno.test("evaluate writes a page, tables and JSON, with robustness and baselines, and says what it left out", async () => {
  await withData(async (dir) => {
    await Deno.copyFile(join(standIns, "manifest.json"), join(dir, "models", "manifest.json"));
    await Deno.copyFile(join(standIns, "calibration.json"), join(dir, "models", "calibration.json"));
    await Deno.writeTextFile(join(dir, "val", "outlier", "x.png"), "not an image");
    const args = ["--val", "val", ...models, "--report", "out", "--limit", "1", "--resamples", "20"];
    const more = ["--attacks", "resize", "--baselines", "--processing", "jpeg75,mirrored", "--stability", "1"];
    const { code, stdout, stderr } = await runTask("evaluate", dir, ...args, ...more);
    assert.equal(code, 0, stderr);
    assert.match(stderr, /evaluate: verdicts: 3 images\n/);
    assert.match(stderr, /evaluate: processing: 6 images\n/);
    assert.match(stderr, /evaluate: stability: 3 images\n/);
    assert.match(stderr, /evaluate: robustness: 30 images\n/);
    assert.match(stderr, /evaluate: baselines: 3 images\n/);
    assert.match(stdout, /^family accuracy +[\d.]+ % +[\d.]+ to [\d.]+ %$/m);
    assert.match(stdout, /^rar +LatentTracer \(baseline\) +everything else +[\d.]+/m);
    assert.match(stdout, /^resize +0\.95 +[\d.]+ % /m);
    assert.match(stdout, /^JPEG 75 +3 +[\d.]+ % /m);
    assert.match(stdout, /^all of these +9 +[\d.]+ % /m);
    assert.match(stdout, /^unstable images +[\d.]+ % /m);
    assert.deepEqual(await names(join(dir, "out")), [
      ...["baselines", "confusion.csv", "evaluation.json", "evidence.jsonl", "journal.sqlite", "limits.md"],
      ...["predictions.csv", "processing", "processing.csv", "report.html", "robustness", "robustness.csv"],
      ...["signals.csv", "sources.csv", "stability", "stability.csv", "summary.json", "thresholds.csv"],
    ]);
    const html = await Deno.readTextFile(join(dir, "out", "report.html"));
    assert.ok(html.match(/<figure\b/g)!.length >= 8);
    assert.doesNotMatch(html, /<script|https?:\/\/(?!www\.w3\.org)/);
    const { evaluation, robustness, processings } = JSON.parse(
      await Deno.readTextFile(join(dir, "out", "evaluation.json")),
    );
    assert.deepEqual(processings.map(({ name }: { name: string }) => name), ["none", "jpeg75", "mirrored", "all"]);
    assert.equal(evaluation.images, 3);
    assert.equal(robustness.length, 10);
    const rows = (await Deno.readTextFile(join(dir, "out", "robustness.csv"))).trimEnd().split("\n");
    assert.equal(rows.length, 11);
    assert.equal(rows[1].split(",").length, rows[0].split(",").length);

    // All of it again from the journals, with the image that cannot be read.
    const all = await runTask("evaluate", dir, "--val", "val", ...models, "--report", "out", "--json");
    assert.equal(all.code, 2, all.stderr);
    assert.match(all.stderr, /evaluate: unreadable, left out: outlier\/x\.png: /);
    const result = JSON.parse(all.stdout);
    assert.equal(result.evaluation.images, 10);
    assert.deepEqual(result.unreadable.map(({ image }: { image: string }) => image), ["outlier/x.png"]);
    const against = result.evaluation.signals[0].separations.map(({ nonmembers }: { nonmembers: string }) =>
      nonmembers
    );
    assert.deepEqual(against, ["everything else", "outlier", "outlier/art", "outlier/photos", "var", "var20"]);
  });
});

Deno.test("evaluate takes a table of labels, and one image only", async () => {
  await withData(async (dir) => {
    const table = join(dir, "labels.csv");
    await Deno.writeTextFile(table, "image_name,label\nrarl/0.png,rarl\n");
    const args = ["--val", "val", "--labels", "labels.csv", "--device", "cpu", "--report", "out"];
    const refused = await runTask("evaluate", dir, ...args, "--models", "models");
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /models: is not calibrated, .*deno task calibrate --models models/);
    const { code, stdout, stderr } = await runTask("evaluate", dir, ...args, "--models", standIns);
    assert.equal(code, 0, stderr);
    assert.match(stderr, /9 images of val have no row in labels\.csv: left out/);
    assert.match(stdout, /^1 images +95 %\n/);
    assert.match(stdout, /^outlier recall +- +-$/m);
    const html = await Deno.readTextFile(join(dir, "out", "report.html"));
    assert.match(html, /There are no outliers: their recall, and rates against them, are not defined\./);
    assert.ok(!html.includes("ROC curves."));
  });
});

/** Refusals: what is wrong, the task, and what it says; in a folder as withData() makes it. */
const refusals: [string, "calibrate" | "evaluate", (dir: string) => Promise<string[]> | string[], RegExp][] = [
  ["no folders", "calibrate", () => ["--val", "val"], /^calibrate: expected --train DIR and --val DIR \(--help\)\n$/],
  ["no folder", "evaluate", () => [], /^evaluate: expected --val DIR \(--help\)\n$/],
  [
    "a folder that is not there",
    "evaluate",
    () => ["--val", "no"],
    /--val no: expected a folder, found nothing at this path/,
  ],
  ["a class folder with an unknown label", "calibrate", async (dir) => {
    await writeAll(join(dir, "train"), ["rarm/1.png"]);
    return both;
  }, /--train train: expected folders named rarb, .*, outlier, got rarm \(1\)/],
  ["a class folder with an unknown label", "evaluate", async (dir) => {
    await writeAll(join(dir, "val"), ["rarm/1.png"]);
    return ["--val", "val", ...models];
  }, /--val val: expected folders named rarb, .*, outlier, got rarm \(1\)/],
  ["one image only", "calibrate", async (dir) => {
    await writeAll(join(dir, "one"), ["rarb/1.png"]);
    return ["--train", "one", "--val", "one/", ...models];
  }, /expected two images or more of each family .*, got .*0 of var \(var16, var20, var24, var30\)/],
  ["a calibration of other weights", "evaluate", async (dir) => {
    await Deno.copyFile(join(standIns, "manifest.json"), join(dir, "models", "manifest.json"));
    const calibration = JSON.parse(await Deno.readTextFile(join(standIns, "calibration.json")));
    await Deno.writeTextFile(
      join(dir, "models", "calibration.json"),
      JSON.stringify({ ...calibration, modelSet: "b".repeat(64) }),
    );
    return ["--val", "val", ...models];
  }, /calibration\.json: was made for the model set bbbbbbbbbbbb, these weights are [0-9a-f]{12}: .*calibrate again/],
  [
    "a calibration that is missing",
    "evaluate",
    async (dir) => {
      await Deno.copyFile(join(standIns, "manifest.json"), join(dir, "models", "manifest.json"));
      return ["--val", "val", ...models];
    },
    /calibration\.json: the manifest names this calibration file, it cannot be read: .*; make it with `deno task calibrate`/,
  ],
  [
    "an unknown signal",
    "calibrate",
    () => [...both, "--signal", "rar=magic"],
    /--signal: rar: expected oneClass, quantLoss, .* or changedTokens, got magic/,
  ],
  [
    "an unknown processing",
    "evaluate",
    () => ["--val", "val", "--processing", "jpeg75,jpg"],
    /--processing: processing: expected one of none, jpeg95, .*, got jpg/,
  ],
  [
    "an unknown attack",
    "evaluate",
    () => ["--val", "val", "--attacks", "jpg"],
    /--attacks: expected noise, .*, got jpg/,
  ],
  [
    "an output folder that is not there",
    "calibrate",
    () => [...both, "--out", "no/c.json"],
    /--out no\/c\.json: cannot write c\.json to no: the folder does not exist/,
  ],
  [
    "an output that exists",
    "calibrate",
    async (dir) => {
      await Deno.writeTextFile(join(dir, "c.json"), "{}");
      return [...both, "--out", "c.json"];
    },
    /--out c\.json: this file exists: name another file, or replace it with --force/,
  ],
  [
    "a share out of range",
    "calibrate",
    () => [...both, "--quantile", "2"],
    /--quantile: expected a number, from 0 to 1, got 2/,
  ],
];

for (const [what, task, prepare, message] of refusals) {
  Deno.test(`${task} refuses ${what} before work starts, with exit code 1`, async () => {
    await withData(async (dir) => {
      const args = await prepare(dir);
      const { code, stdout, stderr } = await runTask(task, dir, ...args);
      assert.match(stderr, message);
      assert.equal(code, 1);
      assert.equal(stdout, "");
      assert.doesNotMatch(stderr, /\n {4}at /, "no stack trace");
      assert.ok(!(await names(join(dir))).includes("runs"), "nothing is written");
    });
  });
}

Deno.test("calibrate refuses an output that another run is writing, before work starts", async () => {
  await withData(async (dir) => {
    const file = await PartFile.create("--out", join(dir, "c.json"));
    const { code, stderr } = await runTask("calibrate", dir, ...both, "--out", "c.json", "--force");
    await file.discard();
    assert.match(stderr, /--out c\.json: another run is writing this file: wait until it ends, or name another file/);
    assert.equal(code, 1);
    assert.ok(!(await names(join(dir))).includes("runs"), "nothing is written");
  });
});

for (const task of ["calibrate", "evaluate"]) {
  Deno.test(`${task} --help explains itself`, async () => {
    const { code, stdout } = await runTask(task, root, "--help");
    assert.equal(code, 0);
    for (const option of ["--val", "--models", "--report", "--journal", "--threshold", "--json", "Exit code: 0 done"]) {
      assert.ok(stdout.includes(option), option);
    }
    assert.ok(stdout.split("\n").every((line) => line.length <= 130));
  });
}
