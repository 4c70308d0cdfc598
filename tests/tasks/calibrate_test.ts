/** `deno task calibrate` as a process: what it prints, writes and keeps. evaluate_test.ts has what it refuses. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { loadCalibration } from "../../attribution/decision/calibration_file.ts";
import { openModelSet } from "../../models/model_set.ts";
import { both, models, names, numbered, withData, writeAll } from "./label_folders.ts";
import { runTask, spawnTask } from "./processes.ts";

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
      /^calibrate: --threshold roc: val has no outliers, .* use --threshold gaussian or quantile/m,
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
