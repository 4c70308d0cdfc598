/** Tasks that are given no data: they take a dataset in the working folder, or draw pairs, and say so. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { withFolder } from "../attribution/files.ts";
import { standIns } from "../sets.ts";
import { models, withData } from "./label_folders.ts";
import { runTask } from "./processes.ts";

const quick = ["--models", standIns, "--device", "cpu", "--epochs", "1"];

for (const family of ["rar", "var"]) {
  Deno.test(`train --family ${family} without data draws pairs, as many as it says, and trains on them`, async () => {
    await withFolder(async (dir) => {
      const args = ["--family", family, ...quick, "--limit", "20"];
      const { code, stdout, stderr } = await runTask("train", dir, ...args);
      assert.equal(code, 0, stderr);
      assert.match(
        stderr,
        new RegExp(
          "^train: no data was named and there is no folder Dataset/train: drawing 20 pairs from the transformers of " +
            `${family} \\(--sample 20\\)\n`,
        ),
      );
      assert.match(stdout, /^epoch {3}0 .*\nepoch {3}1 {2}loss .*\n$/);
      assert.ok((await Deno.stat(join(dir, "runs", family, "encoder.safetensors"))).isFile);
      assert.match((await runTask("train", dir, "--help")).stdout, /500\s+pairs are drawn from the transformers/);
    });
  });
}

Deno.test("train without data takes Dataset/train in the working folder, unless it is told how to draw", async () => {
  await withData(async (dir) => {
    await Deno.mkdir(join(dir, "Dataset"));
    await Deno.rename(join(dir, "train"), join(dir, "Dataset", "train"));
    const { code, stderr } = await runTask("train", dir, "--family", "var", ...quick, "--holdout", "0");
    assert.equal(code, 0, stderr);
    assert.match(stderr, /^train: no data was named: training on the images in Dataset\/train \(--data .*\)\n/);
    const args = ["--family", "var", ...quick, "--variants", "var16", "--limit", "3", "--run", "drawn"];
    const drawn = await runTask("train", dir, ...args, "--holdout", "0");
    assert.equal(drawn.code, 0, drawn.stderr);
    assert.match(drawn.stderr, /^train: no data was named: drawing 3 pairs from the transformers of var/);
  });
});

Deno.test("calibrate and evaluate without folders take those of Dataset in the working folder, and say so", async () => {
  await withData(async (dir) => {
    await Deno.mkdir(join(dir, "Dataset"));
    for (const part of ["train", "val"]) await Deno.rename(join(dir, part), join(dir, "Dataset", part));
    const calibrated = await runTask("calibrate", dir, ...models, "--thresholds-only");
    assert.equal(calibrated.code, 0, calibrated.stderr);
    for (const part of ["train", "val"]) {
      assert.match(calibrated.stderr, new RegExp(`no folder of ${part} images was named: using Dataset/${part}\n`));
    }
    const evaluated = await runTask("evaluate", dir, ...models, "--limit", "1", "--resamples", "10");
    assert.equal(evaluated.code, 0, evaluated.stderr);
    assert.match(evaluated.stderr, /^evaluate: no folder of val images was named: using Dataset\/val\n/);
  });
});
