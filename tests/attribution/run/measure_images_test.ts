/** Runs that decide nothing: their journal, what tasks share through it, transforms, and the encoders of baselines. */
import { labelsOf } from "../../../attribution/labels.ts";
import assert from "node:assert/strict";
import { join } from "node:path";
import { strengthRanges } from "../../../attribution/images/augment/mod.ts";
import { listLabelFolders } from "../../../attribution/images/labelled.ts";
import { attackedImages } from "../../../attribution/evaluation/robustness.ts";
import type { MeasuredLine } from "../../../attribution/evidence/evidence.ts";
import { gatherLines, type MeasuringOptions } from "../../../attribution/run/measure_images.ts";
import { openModelSet } from "../../../models/model_set.ts";
import { withFolder, writeImages } from "../files.ts";
import { writePerturbedEncoder } from "../../training/pairs.ts";
import { copyStandIns, standIns } from "../../sets.ts";
import { hashFile } from "../../../util/hash.ts";

const options: MeasuringOptions = {
  quantization: "greedy",
  signals: "core",
  device: "cpu",
  memoryBytes: 1 << 30,
};

/** A label folder with `count` images of the stand-ins' size. */
async function folder(dir: string, count: number) {
  const set = await openModelSet(standIns);
  await writeImages(join(dir, "val", "rarb"), count, set.tokenizerFacts("rar").imageSize);
  return { set, images: await listLabelFolders("--val", join(dir, "val"), labelsOf(set)) };
}

const numbers = (line: MeasuredLine | undefined) => line && { ...line, timings: undefined };

Deno.test("measureImages() goes on from its journal and gives the same numbers", async () => {
  await withFolder(async (dir) => {
    // More than a batch, so that the run is interrupted in the middle.
    const { set, images } = await folder(dir, 18);
    const report = join(dir, "journal");
    const controller = new AbortController();
    const small = { ...options, report };
    const first = await gatherLines(set, images, { ...small, signal: controller.signal }, {
      onLine: () => controller.abort(),
    });
    const { measured } = first.summary.images;
    assert.equal(first.summary.status, "interrupted");
    assert.ok(measured >= 1 && measured < 18, `${measured} of 18`);
    const second = await gatherLines(set, images, small);
    assert.deepEqual(second.summary.images, { total: 18, measured: 18, unreadable: 0, computed: 18 - measured });
    assert.equal(second.summary.status, "done");
    const whole = await gatherLines(set, images, options);
    assert.equal(whole.summary.images.computed, 18);
    assert.deepEqual(second.lines.map(numbers), whole.lines.map(numbers));
    const left = await Array.fromAsync(Deno.readDir(report), ({ name }) => name);
    assert.deepEqual(left.sort(), ["evidence.jsonl", "journal.sqlite", "summary.json"]);
  });
});

Deno.test("transformed images have contents of their own; a transform of no strength changes nothing", async () => {
  await withFolder(async (dir) => {
    const { set, images } = await folder(dir, 1);
    const report = join(dir, "journal");
    const attacked = attackedImages(images, 0, ["brightness"]).slice(0, 3);
    assert.equal(strengthRanges.brightness[0], 1);
    const { lines } = await gatherLines(set, [...images, ...attacked], { ...options, report });
    const [plain, same, ...changed] = lines.map((line) => line!.families);
    assert.deepEqual(same, plain);
    for (const families of changed) assert.notDeepEqual(families, plain);
    assert.equal(new Set(lines.map((line) => line!.sha256)).size, 4);
    // The journal tells them apart.
    const again = await gatherLines(set, [...images, ...attacked], { ...options, report });
    assert.equal(again.summary.images.computed, 0);
    assert.deepEqual(again.lines, lines);
  });
});

/** A copy of the stand-ins, with a changed encoder for RAR or with the tokenizers' own alone. */
async function copySet(dir: string, tuned: boolean): Promise<void> {
  await Deno.mkdir(dir);
  await copyStandIns(dir);
  const manifest = JSON.parse(await Deno.readTextFile(join(dir, "manifest.json")));
  delete manifest.calibration;
  for (const family of Object.values<{ encoder?: unknown }>(manifest.families)) delete family.encoder;
  if (tuned) {
    const file = join(dir, "other.safetensors");
    await writePerturbedEncoder("rar", file, 0.1);
    const { size } = await Deno.stat(file);
    manifest.families.rar.encoder = { file: "other.safetensors", bytes: size, sha256: await hashFile(file) };
  }
  await Deno.writeTextFile(join(dir, "manifest.json"), JSON.stringify(manifest));
}

Deno.test("baselines are measured with the encoders that the tokenizers were trained with", async () => {
  await withFolder(async (dir) => {
    const { images } = await folder(dir, 1);
    const families = async (tuned: boolean, signals: "all" | "baselines") => {
      const set = await openModelSet(join(dir, tuned ? "tuned" : "plain"));
      const { lines: [line] } = await gatherLines(set, images, { ...options, signals });
      return line!.families;
    };
    await copySet(join(dir, "plain"), false);
    await copySet(join(dir, "tuned"), true);
    const plain = await families(false, "all"), tuned = await families(true, "all");
    assert.notDeepEqual(tuned.rar, plain.rar);
    assert.deepEqual(tuned.var, plain.var);
    const { latentTracer, ...rest } = (await families(true, "baselines")).rar;
    // Unpacked kernels add up in another order.
    for (const [name, value] of Object.entries(rest)) {
      const expected = plain.rar[name as keyof typeof rest]!;
      assert.ok(Math.abs(value - expected) <= 1e-3 * Math.abs(expected), `${name}: expected ${expected}, got ${value}`);
    }
    assert.ok(latentTracer! < plain.rar.reconstruction!);
  });
});
