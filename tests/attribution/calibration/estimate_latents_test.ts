/** Noise statistics of an inverse decoder whose file has none, estimated from labelled images. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { estimateLatents } from "../../../attribution/calibration/estimate_latents.ts";
import {
  calibrationFormatWithLatents,
  loadCalibration,
  uncalibrated,
} from "../../../attribution/decision/calibration_file.ts";
import { ownDecoder } from "../../../attribution/images/decoder/mod.ts";
import { readContent, toValueRange } from "../../../attribution/images/load.ts";
import { labelsOf } from "../../../attribution/labels.ts";
import { openQuantizer } from "../../../attribution/quantisation/quantizers.ts";
import { settingsOf } from "../../../attribution/run/open_run.ts";
import { invert } from "../../../attribution/signals/reconstruction.ts";
import { openCpuDevice } from "../../../core/cpu/mod.ts";
import { fromArray, scope } from "../../../core/tensor/mod.ts";
import { runGeneration } from "../../../generation/mod.ts";
import { openCheckpoint, writeSafetensors } from "../../../models/checkpoint/mod.ts";
import { type ModelSet, openModelSet } from "../../../models/model_set.ts";
import { hashFile } from "../../../util/hash.ts";
import { withFolder } from "../files.ts";
import { tiny } from "../../sets.ts";

const variants = ["var16", "var30"], count = 6;

/** Copies the embedded set without the statistics of VAR's encoder, and without its calibration. */
async function stripped(dir: string): Promise<void> {
  const name = "var_encoder.safetensors", manifest = JSON.parse(await Deno.readTextFile(join(tiny, "manifest.json")));
  const source = await openCheckpoint(join(tiny, name));
  const entries = await Promise.all(
    [...source.tensors.values()].filter((tensor) => !tensor.name.startsWith("latents.")).map(async (tensor) => {
      const values = await source.readF16(tensor.name);
      return { name: tensor.name, shape: tensor.shape, dtype: "f16" as const, data: () => values };
    }),
  );
  source.close();
  await writeSafetensors(join(dir, name), entries);
  for await (const { name: file } of Deno.readDir(tiny)) {
    if (file !== name && file !== "calibration.json") await Deno.symlink(join(tiny, file), join(dir, file));
  }
  const encoder = manifest.families.var.encoder;
  encoder.bytes = (await Deno.stat(join(dir, name))).size;
  encoder.sha256 = await hashFile(join(dir, name));
  delete manifest.calibration;
  await Deno.remove(join(dir, "manifest.json"));
  await Deno.writeTextFile(join(dir, "manifest.json"), JSON.stringify(manifest));
}

const imagesIn = (dir: string) =>
  variants.flatMap((label) =>
    Array.from({ length: count }, (_, i) => {
      const path = join(dir, label, `${i}.png`);
      return { imageName: `${label}/${i}.png`, path, label, source: label };
    })
  );

/** Share of the true tokens that a set finds in images. */
async function recovery(set: ModelSet, dir: string): Promise<number> {
  const device = openCpuDevice({ threads: 1 });
  const tokenizer = await set.loadTokenizer(device, "var");
  const quantizer = await openQuantizer("search", tokenizer);
  const { imageSize: size, tokenCount } = tokenizer;
  const pixels: Float32Array[] = [], truth: number[] = [];
  for (const image of imagesIn(dir)) {
    const { bytes } = await readContent(image);
    pixels.push((await ownDecoder.pixels(image, bytes, [size])).bySize.get(size)!);
    truth.push(...JSON.parse(await Deno.readTextFile(image.path.replace(/png$/, "json"))).tokens);
  }
  const tokens = scope(() => {
    const images = fromArray(device, toValueRange(pixels, tokenizer.valueRange), [pixels.length, size, size, 3]);
    return quantizer.quantize(invert(tokenizer, images).latent).tokens;
  });
  const found = await tokens.ints();
  assert.equal(found.length, pixels.length * tokenCount);
  for (const item of [tokens, quantizer, tokenizer]) item.dispose();
  device.close();
  return found.filter((token, i) => token === truth[i]).length / found.length;
}

Deno.test("an inverse decoder without noise statistics gets them from labelled images, and finds the tokens again", async () => {
  await withFolder(async (dir) => {
    const generated = join(dir, "generated"), weights = join(dir, "weights");
    for (const [part, seed] of [["train", 31], ["test", 32]] as const) {
      await runGeneration({
        models: tiny,
        variants,
        count,
        seed,
        out: join(generated, part),
        device: "cpu",
        threads: 1,
      });
    }
    await Deno.mkdir(weights);
    await stripped(weights);
    const set = await openModelSet(weights);
    assert.deepEqual([await set.lacksLatents("var"), await set.lacksLatents("rar")], [true, false]);
    assert.equal(await (await openModelSet(tiny)).lacksLatents("var"), false);

    const before = await recovery(set, join(generated, "test"));
    const notes: string[] = [];
    const options = { device: "cpu", threads: 1, quantization: "search" } as const;
    const latents = await estimateLatents(set, imagesIn(join(generated, "train")), labelsOf(set), {
      ...options,
      onNote: (text) => notes.push(text),
    });
    assert.deepEqual(Object.keys(latents!), ["var"]);
    assert.equal(latents!.var.images, variants.length * count);
    assert.match(
      notes.join("\n"),
      /^the var encoder has no statistics of its noise: estimated from 12 images of train /,
    );
    const after = await recovery(set, join(generated, "test"));
    const trained = await recovery(await openModelSet(tiny), join(generated, "test"));
    // With those that training measured on hundreds of images it is 0.98 (docs/quantisation.md).
    assert.ok(trained > 0.9, `${trained} with the file's own`);
    // Two thirds and more of what is lost come back with a dozen images; nearly all with more (docs/quantisation.md).
    assert.ok(
      before < trained - 0.12 && after - before > 0.6 * (trained - before),
      `${before} without, ${after} with the estimate, ${trained} with the file's own`,
    );

    // A calibration file keeps them, and whoever loads it has them; evidence says which they were.
    const file = { ...uncalibrated(set, "search"), format: calibrationFormatWithLatents, latents };
    await Deno.writeTextFile(join(weights, "calibration.json"), JSON.stringify(file));
    const manifest = JSON.parse(await Deno.readTextFile(join(weights, "manifest.json")));
    await Deno.writeTextFile(
      join(weights, "manifest.json"),
      JSON.stringify({ ...manifest, calibration: "calibration.json" }),
    );
    const again = await openModelSet(weights);
    assert.equal(again.latentsId, undefined);
    await loadCalibration(again);
    assert.equal(again.latentsId, set.latentsId);
    assert.equal(await recovery(again, join(generated, "test")), after);
    const measuring = { quantization: "search", signals: "core" } as const;
    assert.equal(settingsOf(measuring, "cpu", { latents: again.latentsId }).latents, set.latentsId);

    // Files of another format, or of another tokenizer, are refused.
    const refuse = async (changed: unknown, message: RegExp) => {
      await Deno.writeTextFile(join(weights, "calibration.json"), JSON.stringify(changed));
      await assert.rejects(loadCalibration(await openModelSet(weights)), message);
    };
    await refuse(
      { ...file, format: "model-tracer-calibration/6" },
      /latents: expected none in a file of the format .*\/6/,
    );
    const { var: { noise } } = latents!;
    await refuse(
      { ...file, latents: { var: { ...latents!.var, prior: noise } } },
      /latents\.prior: expected probabilities above 0/,
    );
    await refuse({ ...file, latents: { rar: latents!.var } }, /latents/);
  });
});

Deno.test("no statistics are estimated where files have them, or where nothing uses them", async () => {
  const set = await openModelSet(tiny);
  assert.equal(await estimateLatents(set, [], labelsOf(set), { device: "cpu", quantization: "search" }), undefined);
  assert.equal(set.latentsId, undefined);
});
