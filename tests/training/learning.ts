/** Fine-tuning learns: from an encoder with noise, on generated pairs, as a whole run. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { runGeneration } from "../../generation/generate.ts";
import { listImages } from "../../attribution/images/list.ts";
import { variantLabels } from "../labels.ts";
import { runTraining } from "../../training/run_training.ts";
import { readLog } from "../../training/log.ts";
import { split } from "../../training/order.ts";
import { readPair } from "../../generation/pair_file.ts";
import { openDevice } from "../../core/open_device.ts";
import { fromArray, scope } from "../../core/tensor/mod.ts";
import { openCheckpoint, openSafetensors } from "../../models/checkpoint/mod.ts";
import type { FamilyName } from "../../models/family.ts";
import { openModelSet } from "../../models/model_set.ts";
import { latentShapes } from "../../models/latent_statistics.ts";
import { tiny } from "../sets.ts";
import { withFolder } from "../attribution/files.ts";
import { writePerturbedEncoder } from "./pairs.ts";

export interface Case {
  readonly family: FamilyName;
  /** Generated images, a tenth of which is held out. */
  readonly images: number;
  readonly epochs: number;
  /** The least ratio of the held-out losses before and after. */
  readonly lossRatio: number;
  /** How far the loss is below that of answering the mean f_Z without looking at images. */
  readonly meanRatio: number;
  /** Token recovery before and after, with margins. */
  readonly recovery: readonly [atMost: number, atLeast: number];
}

/** Images of a family's variants with their tokens. */
async function writeGenerated(family: FamilyName, count: number, out: string): Promise<void> {
  const variants = variantLabels[family];
  await runGeneration({
    models: tiny,
    variants,
    count: count / variants.length,
    seed: 21,
    out,
    resume: false,
    device: "cpu",
  });
}

/** Mean squared error over the held-out pairs of answering the training pairs' mean f_Z. */
async function meanPredictorLoss(name: FamilyName, dir: string): Promise<number> {
  const images = await listImages([dir]);
  const tokens = await Promise.all(images.map(async ({ path }) => (await readPair(path))!.tokens));
  const device = await openDevice("cpu");
  const family = await (await openModelSet(tiny)).loadTokenizer(device, name);
  const fHat = scope(() =>
    family.dequantize(fromArray(device, Int32Array.from(tokens.flat()), [images.length, family.tokenCount]))
  );
  const values = await fHat.data();
  fHat.dispose();
  family.dispose();
  device.close();
  const { training, heldOut } = split(images.length, 0.1, 0);
  const each = values.length / images.length;
  const mean = new Float64Array(each);
  for (const image of training) for (let i = 0; i < each; i++) mean[i] += values[image * each + i] / training.length;
  let loss = 0;
  for (const image of heldOut) for (let i = 0; i < each; i++) loss += (values[image * each + i] - mean[i]) ** 2;
  return loss / (heldOut.length * each);
}

/** Fine-tunes an encoder from one with noise, and checks what the run says of itself and what it writes. */
export async function learns({ family, images, epochs, lossRatio, meanRatio, recovery }: Case): Promise<void> {
  await withFolder(async (dir) => {
    const generated = join(dir, "pairs", family);
    await writeGenerated(family, images, generated);
    await writeGenerated(family === "rar" ? "var" : "rar", 32, join(dir, "pairs", "other"));
    const init = join(dir, "perturbed.safetensors"), run = join(dir, "run");
    await writePerturbedEncoder(family, init, 0.4, { models: tiny });
    const { status, out, last } = await runTraining({
      family,
      models: tiny,
      pairs: [join(dir, "pairs")],
      init,
      run,
      device: "cpu",
      recipe: { epochs, lr: 1e-3, batch: 8 },
    });
    assert.equal(status, "done");
    const log = await readLog(run);
    assert.deepEqual(log.get("epoch"), Array.from({ length: epochs + 1 }, (_, i) => i));
    const losses = log.get("held_out_loss")!,
      recovered = log.get("token_recovery")!,
      auc = log.get("quant_loss_auc")!;
    const [before, after] = [losses[0], losses[epochs]];
    assert.ok(before > lossRatio * after, `held-out loss ${before} -> ${after}`);
    const meanPredictor = await meanPredictorLoss(family, generated);
    assert.ok(after < meanPredictor / meanRatio, `held-out loss ${after}, without looking at images ${meanPredictor}`);
    assert.ok(recovered[0] < recovery[0] && recovered[epochs] > recovery[1], `recovery ${recovered}`);
    assert.ok(auc.every((value) => value >= 0 && value <= 1), `AUC ${auc}`);

    // The result: the encoder's own names, VAR's statistics and nothing else, what it came from, and fit to be started from.
    const source = await openSafetensors(out!);
    const { metadata } = source;
    source.close();
    const set = await openModelSet(tiny);
    const own = await set.openNetwork({ family });
    const trained = [...own.tensors.values()].filter(({ name }) => /^(encoder|quant_conv)\./.test(name));
    own.close();
    const shapes = latentShapes(set.tokenizerFacts("var"));
    const statistics = [...shapes].map(([name, shape]) => ({ name, shape }));
    assert.deepEqual(
      [...source.tensors.values()].map(({ name, shape, dtype }) => [name, shape, dtype]),
      [...trained, ...family === "var" ? statistics : []].map(({ name, shape }) => [name, shape, "f32"]),
    );
    assert.equal(metadata.get("format"), "model-tracer-encoder/1");
    assert.equal(metadata.get("family"), family);
    assert.equal(metadata.get("modelSet"), set.hash);
    assert.match(metadata.get("data")!, /^[0-9a-f]{64}$/);
    assert.equal(metadata.get("seed"), "0");
    assert.equal(JSON.parse(metadata.get("recipe")!).lr, 1e-3);
    assert.equal(JSON.parse(metadata.get("metrics")!).heldOutLoss, last!.heldOutLoss);
    (await openCheckpoint(out!)).close();
  });
}
