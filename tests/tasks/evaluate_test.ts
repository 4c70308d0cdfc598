/** `deno task calibrate` and `deno task evaluate` as processes: what they print, write, keep and refuse. */
import assert from "node:assert/strict";
import { dirname, join } from "node:path";
import { encodePng } from "../../attribution/images/decode.ts";
import { loadCalibration } from "../../attribution/decision/calibration_file.ts";
import { openModelSet } from "../../models/model_set.ts";
import { withFolder } from "../attribution/files.ts";
import { goldenImage } from "../attribution/golden_image.ts";
import { root, runTask, spawnTask } from "./processes.ts";
import { copyStandIns, standIns } from "../sets.ts";

const manifest = JSON.parse(await Deno.readTextFile(join(standIns, "manifest.json")));
const size: number = manifest.families.rar.tokenizer.config.resolution;

/** Writes an image of its own for each name; the n-th of all is test image n. */
async function writeAll(dir: string, names: readonly string[], first = 0): Promise<void> {
  for (const [i, name] of names.entries()) {
    await Deno.mkdir(dirname(join(dir, name)), { recursive: true });
    await Deno.writeFile(join(dir, name), await encodePng(goldenImage(first + i, size, size)));
  }
}

const numbered = (folder: string, count: number) => Array.from({ length: count }, (_, i) => `${folder}/${i}.png`);

/** Label folders train and val, and a copy of the stand-ins without calibration in `models`. */
async function withData(body: (dir: string) => Promise<void>): Promise<void> {
  await withFolder(async (dir) => {
    await writeAll(join(dir, "train"), [...numbered("rarb", 3), ...numbered("var16", 3)]);
    await writeAll(
      join(dir, "val"),
      [
        ...numbered("rarl", 3),
        ...numbered("var20", 3),
        ...numbered("outlier/photos", 2),
        ...numbered("outlier/art", 2),
      ],
      20,
    );
    await copyStandIns(join(dir, "models"));
    const { calibration: _, ...rest } = manifest;
    await Deno.writeTextFile(join(dir, "models", "manifest.json"), JSON.stringify(rest));
    await body(dir);
  });
}

const names = async (dir: string) => (await Array.fromAsync(Deno.readDir(dir), ({ name }) => name)).sort();
const models = ["--models", "models", "--device", "cpu"];
const both = ["--train", "train", "--val", "val", ...models];

Deno.test("calibrate writes the set's calibration, names it in the manifest, and shows what thresholds cost", async () => {
  await withData(async (dir) => {
    await Deno.writeTextFile(join(dir, "val", "rarl", "9.png"), "not an image");
    const { code, stdout, stderr } = await runTask("calibrate", dir, ...both);
    assert.equal(code, 2, stderr);
    assert.match(stderr, /calibrate: unreadable, left out: val\/rarl\/9\.png: expected PNG, JPEG or WebP, got text/);
    assert.match(stderr, /models\/manifest\.json: named calibration\.json as its calibration/);
    assert.match(
      stderr,
      /calibrate: models\/calibration\.json: (roc|gaussian|quantile) thresholds on .* decide; 1 images/,
    );
    assert.match(stdout, /^rar +QuantLoss +roc +[\d.e-]+ +[\d.]+ % /m);
    assert.match(stdout, /^var +Tokens changed by re-encoding +quantile /m);
    assert.match(stdout, /The best ways to decide, cross-fitted on val:/);

    const set = await openModelSet(join(dir, "models"));
    const { calibration, sha256 } = await loadCalibration(set);
    assert.match(sha256!, /^[0-9a-f]{64}$/);
    assert.equal(calibration.modelSet, set.hash);
    assert.deepEqual(calibration.data!.train.labels, { rarb: 3, var16: 3 });
    assert.deepEqual(calibration.data!.val.labels, { rarl: 3, var20: 3, outlier: 4 });
    assert.equal(Object.keys(calibration.families.rar).length, 9);
    assert.deepEqual(await names(join(dir, "runs", "calibrate")), [
      "evidence.jsonl",
      "journal.sqlite",
      "summary.json",
    ]);
    assert.match(stderr, /calibrate: measured 16 images, kept in runs\/calibrate\/journal\.sqlite/);

    // From the same evidence, other thresholds in a moment; and a fingerprint that names do not change.
    await Deno.rename(join(dir, "val", "outlier", "art"), join(dir, "val", "outlier", "paintings"));
    const again = await runTask(
      "calibrate",
      dir,
      ...both,
      "--sigmas",
      "1",
      "--threshold",
      "gaussian",
      "--signal",
      "rar=encLoss,var=combined",
      "--json",
    );
    assert.equal(again.code, 2, again.stderr);
    assert.match(
      again.stderr,
      /calibrate: nothing had to be measured, all of it is in runs\/calibrate\/journal\.sqlite/,
    );
    const other = JSON.parse(again.stdout).calibration;
    assert.equal(other.data.val.fingerprint, calibration.data!.val.fingerprint);
    assert.deepEqual(other.decision, { signals: { rar: "encLoss", var: "combined" }, threshold: "gaussian" });
    assert.equal(other.families.rar.encLoss.thresholds.gaussian.parameter, 1);
    assert.equal(other.families.rar.encLoss.mean, calibration.families.rar.encLoss!.mean);

    // attribute takes it, and other thresholds of it.
    const attribute = async (...args: string[]) => {
      const result = await runTask(
        "attribute",
        dir,
        "val/rarl",
        ...models,
        "--report",
        "r",
        "--json",
        ...args,
      );
      assert.equal(result.code, 2, result.stderr);
      const summary = JSON.parse(await Deno.readTextFile(join(dir, "r", "summary.json")));
      return summary.rules.families.rar;
    };
    const { gaussian, roc } = other.families.rar.encLoss.thresholds;
    assert.equal((await attribute()).threshold, gaussian.threshold);
    const chosen = await attribute("--threshold", "roc");
    assert.deepEqual([chosen.signal, chosen.threshold], ["encLoss", roc.threshold]);
  });
});

Deno.test("calibrate without outliers falls back to gaussian thresholds and says so; roc is refused before any work", async () => {
  await withData(async (dir) => {
    await Deno.remove(join(dir, "val", "outlier"), { recursive: true });
    const refused = await runTask("calibrate", dir, ...both, "--threshold", "roc");
    assert.equal(refused.code, 1);
    assert.match(
      refused.stderr,
      /^calibrate: --threshold roc: val has no outliers, .* use --threshold gaussian or quantile/,
    );
    assert.ok(!(await names(dir)).includes("runs"));

    const { code, stderr } = await runTask("calibrate", dir, ...both, "--signals", "core");
    assert.equal(code, 0, stderr);
    assert.match(
      stderr,
      /val has no outliers: no roc thresholds, and nothing to choose a strategy by; gaussian decides/,
    );
    const attribute = await runTask("attribute", dir, "val/rarl", ...models, "--threshold", "roc");
    assert.equal(attribute.code, 1);
    assert.match(
      attribute.stderr,
      /--threshold roc: .* no such threshold for rar \(quantLoss\): val had no outliers .*; it has quantile, gaussian/,
    );
  });
});

Deno.test("calibrate and evaluate resume after Ctrl-C", async () => {
  await withData(async (dir) => {
    await writeAll(join(dir, "train"), numbered("rarxl", 30), 100);
    const process = await spawnTask("calibrate", dir, both);
    const journal = join(dir, "runs", "calibrate", "evidence.jsonl.part");
    let ended = false;
    process.status.then(() => ended = true);
    while (!ended && await Deno.stat(journal).then(({ size }) => size === 0, () => true)) {
      await new Promise((f) => setTimeout(f, 20));
    }
    process.kill("SIGINT");
    const { code, stderr } = await process.output();
    assert.equal(code, 130);
    assert.match(new TextDecoder().decode(stderr), /calibrate: interrupted; to continue, run the same command again/);
    const { images: before } = JSON.parse(await Deno.readTextFile(join(dir, "runs", "calibrate", "summary.json")));
    assert.ok(before.measured >= 1 && before.measured < 46, `${before.measured} of 46`);
    const again = await runTask("calibrate", dir, ...both, "--resume");
    assert.equal(again.code, 0, again.stderr);
    const { images } = JSON.parse(await Deno.readTextFile(join(dir, "runs", "calibrate", "summary.json")));
    const { computed, ...rest } = images;
    assert.deepEqual(rest, { total: 46, measured: 46, unreadable: 0 });
    assert.ok(computed <= 46 - before.measured, `${before.measured} were measured, ${computed} again`);
  });
});

Deno.test("evaluate writes a page, tables and JSON, with robustness and baselines, and says what it left out", async () => {
  await withData(async (dir) => {
    await Deno.copyFile(join(standIns, "manifest.json"), join(dir, "models", "manifest.json"));
    await Deno.copyFile(join(standIns, "calibration.json"), join(dir, "models", "calibration.json"));
    await Deno.writeTextFile(join(dir, "val", "outlier", "x.png"), "not an image");
    const args = ["--val", "val", ...models, "--report", "out", "--limit", "1", "--resamples", "20"];
    const more = ["--attacks", "resize", "--baselines"];
    const { code, stdout, stderr } = await runTask("evaluate", dir, ...args, ...more);
    assert.equal(code, 0, stderr);
    assert.match(stderr, /evaluate: verdicts: 3 images\n/);
    assert.match(stderr, /evaluate: robustness: 30 images\n/);
    assert.match(stderr, /evaluate: baselines: 3 images\n/);
    assert.match(stdout, /^family accuracy +[\d.]+ % +[\d.]+ to [\d.]+ %$/m);
    assert.match(stdout, /^rar +LatentTracer \(baseline\) +everything else +[\d.]+/m);
    assert.match(stdout, /^resize +0\.95 +[\d.]+ % /m);
    const tables = ["confusion.csv", "predictions.csv", "robustness.csv", "signals.csv", "thresholds.csv"];
    assert.deepEqual(await names(join(dir, "out")), [
      "baselines",
      ...tables.slice(0, 1),
      "evaluation.json",
      "evidence.jsonl",
      "journal.sqlite",
      ...tables.slice(1, 2),
      "report.html",
      "robustness",
      ...tables.slice(2, 4),
      "summary.json",
      ...tables.slice(4),
    ]);
    const html = await Deno.readTextFile(join(dir, "out", "report.html"));
    assert.equal(html.match(/<figure>/g)?.length, 6);
    assert.doesNotMatch(html, /<script|https?:\/\/(?!www\.w3\.org)/);
    const { evaluation, robustness } = JSON.parse(await Deno.readTextFile(join(dir, "out", "evaluation.json")));
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
    const args = ["--val", "val", "--labels", "labels.csv", ...models, "--report", "out"];
    const { code, stdout, stderr } = await runTask("evaluate", dir, ...args);
    assert.equal(code, 0, stderr);
    assert.match(stderr, /9 images of val have no row in labels\.csv: left out/);
    assert.match(stdout, /^1 images +95 %\n/);
    assert.match(stdout, /^outlier recall +- +-$/m);
    const html = await Deno.readTextFile(join(dir, "out", "report.html"));
    assert.match(html, /There are no outliers: their recall, and rates against them, are not defined\./);
    assert.match(html, /The set is not calibrated for what decides: every image passes\./);
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
  }, /expected two images or more of each family .*, got 0 of var \(var16, var20, var24, var30\)/],
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
    "an unknown attack",
    "evaluate",
    () => ["--val", "val", "--attacks", "jpg"],
    /--attacks: expected noise, .*, got jpg/,
  ],
  [
    "an output folder that is not there",
    "calibrate",
    () => [...both, "--out", "no/c.json"],
    /--out no\/c\.json: the folder no does not exist/,
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
