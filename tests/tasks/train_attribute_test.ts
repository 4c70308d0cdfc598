/** What `deno task train` writes, named by a model set's manifest, is what `deno task attribute` encodes with. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { withFolder } from "../attribution/files.ts";
import { writePairs } from "../training/pairs.ts";
import { decodeImage } from "../../attribution/images/decode.ts";
import { invert, quantLoss } from "../../attribution/signals/reconstruction.ts";
import { Trainee } from "../../training/trainee.ts";
import { openDevice } from "../../core/open_device.ts";
import { scope } from "../../core/tensor/mod.ts";
import { openCheckpoint } from "../../models/checkpoint/mod.ts";
import type { FamilyName } from "../../models/family.ts";
import { openModelSet } from "../../models/model_set.ts";
import { copyStandIns, standIns } from "../sets.ts";
import { runTask } from "./processes.ts";
import { hashFile } from "../../util/hash.ts";

/** QuantLoss by image and family, as attribute's evidence has it. */
async function quantLosses(dir: string, images: string, models: string, ...more: string[]) {
  // The set that is calibrated and the one that is not would use different methods of quantisation.
  const args = [images, "--models", models, "--device", "cpu", "--quantization", "greedy", "--json", ...more];
  args.push("--out", join(dir, "submission.csv"), "--force");
  const { code, stdout, stderr } = await runTask("attribute", dir, ...args);
  assert.equal(code, 0, stderr);
  const lines = stdout.trimEnd().split("\n").map((line) => JSON.parse(line));
  return new Map<string, Record<FamilyName, number>>(
    lines.map(({ image, families: { rar, var: varFamily } }) => [
      image,
      { rar: rar.quantLoss, var: varFamily.quantLoss },
    ]),
  );
}

/** QuantLoss of the same images by the trained encoder laid over the family's tokenizer, without a manifest. */
async function expectedLosses(name: FamilyName, images: string, encoder: string, names: string[]): Promise<number[]> {
  const device = await openDevice("cpu");
  const trainee = await Trainee.open(device, await openModelSet(standIns), name, {
    init: await openCheckpoint(encoder),
  });
  const pixels: Float32Array[] = [];
  for (const image of names) {
    const { data } = await decodeImage(await Deno.readFile(join(images, image)));
    pixels.push(Float32Array.from(data, (byte) => byte / 255));
  }
  const losses = scope(() => {
    const x = trainee.images(pixels);
    // VAR's encoder comes with statistics of its latents, and these are of refined ones.
    const f = invert(trainee.tokenizer, x, name === "var").latent;
    return quantLoss(f, trainee.tokenizer.quantize(f).fHat);
  });
  const values = [...await losses.data()];
  losses.dispose();
  trainee.dispose();
  device.close();
  return values;
}

for (const family of ["rar", "var"] as const) {
  Deno.test(`attribute encodes with the ${family} encoder that train wrote, once a manifest names it`, async () => {
    await withFolder(async (dir) => {
      const pairs = join(dir, "pairs"), run = join(dir, "run"), models = join(dir, "models");
      const device = await openDevice("cpu");
      await writePairs(device, family, pairs, 6);
      device.close();
      const args = ["--family", family, "--pairs", pairs, "--models", standIns, "--run", run, "--device", "cpu"];
      const trained = await runTask("train", dir, ...args, "--epochs", "1", "--batch", "2", "--lr", "1e-3");
      assert.equal(trained.code, 0, trained.stderr);

      // As docs/training.md has it: the file into a set's folder, and its entry into the manifest.
      await copyStandIns(models, { calibration: true });
      const encoder = join(models, "encoder.safetensors");
      await Deno.copyFile(join(run, "encoder.safetensors"), encoder);
      const manifest = JSON.parse(await Deno.readTextFile(join(models, "manifest.json")));
      const { size } = await Deno.stat(encoder);
      manifest.families[family].encoder = {
        file: "encoder.safetensors",
        bytes: size,
        sha256: await hashFile(encoder),
      };
      const save = () => Deno.writeTextFile(join(models, "manifest.json"), JSON.stringify(manifest));
      await save();
      if (manifest.calibration !== undefined) {
        // Thresholds of the encoder before are not taken for those of this one.
        const refused = await runTask("attribute", dir, pairs, "--models", models, "--device", "cpu");
        assert.equal(refused.code, 1);
        assert.match(refused.stderr, /was made for the model set .*calibrate again.*remove `calibration`/);
        delete manifest.calibration;
        await save();
      }

      const plain = await quantLosses(dir, pairs, standIns),
        tuned = await quantLosses(dir, pairs, models, "--uncalibrated");
      const names = [...plain.keys()];
      assert.deepEqual([...tuned.keys()], names);
      assert.equal(names.length, 6);
      const expected = await expectedLosses(family, pairs, encoder, names);
      const other = family === "rar" ? "var" : "rar";
      for (const [i, name] of names.entries()) {
        const [before, after] = [plain.get(name)!, tuned.get(name)!];
        assert.equal(after[other], before[other], name);
        assert.ok(Math.abs(after[family] / before[family] - 1) > 1e-3, `${name}: ${before[family]}, ${after[family]}`);
        // Weights are packed there and dense here, and batches are others: float32 sums in another order.
        assert.ok(Math.abs(after[family] / expected[i] - 1) < 1e-4, `${name}: ${after[family]}, ${expected[i]}`);
      }
    });
  });
}
