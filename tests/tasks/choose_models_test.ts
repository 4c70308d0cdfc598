/** Tasks without --models take the same set: weights/official where it is complete, else the embedded one, and say so. */
import assert from "node:assert/strict";
import { chooseModels } from "../../attribution/run/choose_models.ts";
import { copyStandIns } from "../sets.ts";
import { join } from "node:path";
import { withFolder, writeImages } from "../attribution/files.ts";
import { root, runTask, tableRows } from "./processes.ts";

Deno.test("generate and train without --models choose the set as the other tasks do, in any folder", async () => {
  const hasOfficial = await Deno.stat(join(root, "weights", "official")).then(() => true, () => false);
  const note = hasOfficial
    ? /using weights\/official/
    : /using weights\/tiny \(no --models, and weights\/official is not there\), calibrated, 64 px, rarb, /;
  await withFolder(async (dir) => {
    // What comes after the set is wrong, so that nothing is computed.
    const runs = await Promise.all([
      runTask("generate", dir, "--model", "nothing", "--out", "x"),
      runTask("train", dir, "--family", "rar", "--data", "nothing", "--run", "x"),
    ]);
    for (const { code, stderr } of runs) {
      assert.equal(code, 1);
      assert.match(stderr, note);
      assert.match(stderr, /: expected .*nothing/);
    }
  });
});

Deno.test("chooseModels() names what an official set lacks instead of taking another one", async () => {
  await withFolder(async (weights) => {
    const official = join(weights, "official"), notes: string[] = [];
    const events = { onNote: (text: string) => notes.push(text) };
    await Deno.mkdir(join(weights, "tiny"));
    await copyStandIns(join(weights, "tiny"), { calibration: true });
    const choose = async () => (await chooseModels(undefined, events, weights)).dir;

    assert.equal(await choose(), join(weights, "tiny"));
    assert.match(notes.pop()!, /^using weights\/tiny \(no --models.*\), calibrated, 32 px, rarb, /);
    await Deno.mkdir(official); // as a pull leaves it that fetched nothing
    assert.equal(await choose(), join(weights, "tiny"));

    // What a pull leaves that was interrupted in its first file.
    await Deno.writeFile(join(official, "rar_b.bin.part"), new Uint8Array(1000));
    await assert.rejects(choose(), (error: Error) => {
      assert.equal(error.name, "ModelSetError");
      assert.match(error.message, /is no whole set: .*manifest\.json.*rar \(maskgit.*var30 \(var_d30\.pth\)/);
      assert.match(error.message, /weights pull.*--models weights\/tiny/);
      return true;
    });

    await copyStandIns(official);
    const { dir } = await chooseModels(undefined, events, weights);
    assert.equal(dir, official);
    assert.match(notes.pop()!, /^using weights\/official, /);
    await Deno.remove(join(official, "vqvae_tiny.pth"));
    await assert.rejects(choose(), /vqvae_tiny\.pth/);
  });
});

Deno.test("attribute gives no verdicts by a set that is not calibrated", async () => {
  await withFolder(async (dir) => {
    const models = join(dir, "models");
    await copyStandIns(models);
    const path = join(models, "manifest.json");
    const { calibration: _, ...manifest } = JSON.parse(await Deno.readTextFile(path));
    await Deno.writeTextFile(path, JSON.stringify(manifest));
    await writeImages(join(dir, "in"), 2, 32);
    const run = (...more: string[]) => runTask("attribute", dir, "in", "--models", models, "--device", "cpu", ...more);
    const refused = await run();
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /using .*, not calibrated, 32 px/);
    assert.match(refused.stderr, /is not calibrated, .*deno task calibrate --models .*--uncalibrated/);
    const { code, stdout, stderr } = await run("--uncalibrated", "--json");
    assert.equal(code, 0, stderr);
    for (const line of stdout.trimEnd().split("\n").map((text) => JSON.parse(text))) {
      const { label, finding, confidence, scores, families, variants, search } = line;
      assert.deepEqual({ label, finding, confidence, scores }, {
        ...{ label: "", finding: "inconclusive", confidence: 0, scores: {} },
      });
      assert.equal(search, undefined, "a search needs a verdict to doubt");
      assert.ok(families.rar.quantLoss > 0 && families.var.quantLoss > 0);
      assert.ok(variants.rarb.perplexity > 1);
    }
    assert.deepEqual(await tableRows(join(dir, "submission.csv")), [["0.png", ""], ["1.png", ""]]);
    const both = await run("--uncalibrated", "--method", "perplexity");
    assert.match(both.stderr, /--uncalibrated: gives no verdicts, so --method is not for it/);
  });
});
