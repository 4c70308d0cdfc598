/**
 * A set whose models draw images of two sizes: an image is judged by the models of its own size, as by a set that has no
 * others. Generated, calibrated, attributed, evaluated and served.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { runCalibration } from "../attribution/calibration/calibrate.ts";
import { requireSizes } from "../attribution/calibration/image_sizes.ts";
import { loadCalibration, uncalibrated } from "../attribution/decision/calibration_file.ts";
import { featureFigures, readFeatureCsv } from "../attribution/evaluation/plots.ts";
import { runEvaluation } from "../attribution/evaluation/run_evaluation.ts";
import { type Evidence, isUnreadable, type MeasuredLine } from "../attribution/evidence/evidence.ts";
import { featuresOf, featureTable, writeFeatureTable } from "../attribution/evidence/features.ts";
import { encodePng, readImage } from "../attribution/images/decode.ts";
import { labelsOf, mapFamilies } from "../attribution/labels.ts";
import { Tracer } from "../attribution/run/tracer.ts";
import { openService } from "../attribution/service/mod.ts";
import { runGeneration } from "../generation/mod.ts";
import { openModelSet } from "../models/model_set.ts";
import { withFolder } from "./attribution/files.ts";
import { goldenImage } from "./attribution/golden_image.ts";
import { copyStandIns, tiny } from "./sets.ts";

/** Untrained networks of LlamaGen for images of `size` pixels; the tokenizer's weights are the same at all sizes. */
function llamagenOf(size: number, labels: readonly string[]) {
  const tokenCount = (size / 8) ** 2;
  const tokenizer = { ch: 32, chMult: [1, 1, 1, 1], resBlocks: 1, zChannels: 8, codes: 32, codeChannels: 4 };
  const config = { width: 32, layers: 2, heads: 4, mlp: 64, tokenCount, classes: 10, codes: 32 };
  const sampler = { guidance: 2, interval: -1, temperature: 1, topK: 0, topP: 1 };
  return {
    tokenizer: { synthetic: { salt: "llamagen-vq" }, config: { ...tokenizer, resolution: size } },
    variants: Object.fromEntries(
      labels.map((label) => [label, { synthetic: { salt: `two-sizes-${label}` }, config, sampler }]),
    ),
  };
}

/** RAR and LlamaGen for 32 pixels, LlamaGen for 48, and those of one of the sizes, in folders of `dir`. */
async function prepare(dir: string) {
  const small = ["llamagenb", "llamagenl"], large = ["llamagenb384", "llamagenl384"];
  const ours = { llamagen: llamagenOf(32, small), llamagen384: llamagenOf(48, large) };
  const write = async (name: string, kept: readonly string[]) => {
    const models = join(dir, name), path = join(models, "manifest.json");
    await copyStandIns(models);
    const { calibration: _, families: { rar }, ...rest } = JSON.parse(await Deno.readTextFile(path));
    const { rarb, rarl } = rar.variants;
    const all = Object.entries({ rar: { ...rar, variants: { rarb, rarl } }, ...ours }).filter(([family]) =>
      kept.includes(family)
    );
    await Deno.writeTextFile(path, JSON.stringify({ ...rest, families: Object.fromEntries(all) }));
    return models;
  };
  return {
    both: await write("both", ["rar", "llamagen", "llamagen384"]),
    small: await write("small", ["rar", "llamagen"]),
    large: await write("large", ["llamagen384"]),
  };
}

/** Thresholds set by hand: every image passes, or none. */
async function setThresholds(models: string, passing: boolean): Promise<void> {
  const path = join(models, "manifest.json"), set = await openModelSet(models);
  const open = uncalibrated(set, "sweeps");
  const thresholds = { quantile: null, gaussian: { threshold: 1e-9 }, roc: null };
  const families = mapFamilies(set.families, () => ({ quantLoss: { mean: 0, deviation: 1, thresholds } }));
  const closed = { ...open, families, decision: { ...open.decision, threshold: "gaussian" } };
  await Deno.writeTextFile(join(models, "calibration.json"), JSON.stringify(passing ? open : closed));
  const manifest = JSON.parse(await Deno.readTextFile(path));
  await Deno.writeTextFile(path, JSON.stringify({ ...manifest, calibration: "calibration.json" }));
}

async function writeOutliers(dir: string, sizes: readonly number[], each: number): Promise<string[]> {
  await Deno.mkdir(dir, { recursive: true });
  const paths: string[] = [];
  for (const size of sizes) {
    for (let i = 0; i < each; i++) {
      const path = join(dir, `${size}_${i}.png`);
      await Deno.writeFile(path, await encodePng(goldenImage(50 + i, size, size)));
      paths.push(path);
    }
  }
  return paths;
}

async function attribute(models: string, paths: readonly string[], options = {}): Promise<Evidence[]> {
  await using tracer = await Tracer.open({ models, device: "cpu", search: "off", ...options });
  const lines = await Array.fromAsync(tracer.attribute(paths));
  return lines.map((line) => {
    assert.ok(!isUnreadable(line), "readable");
    return line;
  });
}

const measuredOf = ({ families, classes, variants, search }: Evidence) => ({ families, classes, variants, search });

Deno.test("an image is judged by the models of its size, with the numbers of a set that has no others", async () => {
  await withFolder(async (dir) => {
    const models = await prepare(dir);
    const paths = await writeOutliers(join(dir, "images"), [32, 48, 30, 64, 100], 1);
    const settings = { method: "perplexity", condition: "infer" };
    const families = { 32: ["rar", "llamagen"], 48: ["llamagen384"] };
    const expected = [
      { size: 32, by: "exact", others: [48] },
      { size: 48, by: "exact", others: [32] },
      { size: 32, by: "nearest", others: [48] },
      { size: 32, by: "multiple", others: [48] },
      { size: 48, by: "nearest", others: [32] },
    ] as const;
    for (const set of Object.values(models)) await setThresholds(set, true);
    const lines = await attribute(models.both, paths, settings);
    lines.forEach(({ facts, families: judged, label, reasons }, i) => {
      const { size } = expected[i];
      assert.deepEqual(facts!.native, expected[i]);
      assert.deepEqual(Object.keys(judged), families[size]);
      assert.equal(label.endsWith("384"), size === 48);
      assert.ok(reasons.some((reason) => reason.startsWith(`Models for images of ${size} pixels were considered`)));
    });
    const alone = [
      ...await attribute(models.small, [paths[0], paths[2], paths[3]], settings),
      ...await attribute(models.large, [paths[1], paths[4]], settings),
    ];
    const same = [0, 2, 3, 1, 4].map((i) => lines[i]);
    assert.deepEqual(same.map(measuredOf), alone.map(measuredOf));
    assert.ok(alone.every(({ facts }) => facts!.native === undefined));
  });
});

Deno.test("an image is searched for poses under the tokenizers of its size", async () => {
  await withFolder(async (dir) => {
    // RAR's trained networks for 64 pixels, and LlamaGen for 96: no image passes, so that all are searched.
    const { families: { rar }, ...rest } = JSON.parse(await Deno.readTextFile(join(tiny, "manifest.json")));
    const ours = llamagenOf(96, ["llamagenb384"]), sets: string[] = [];
    for (const families of [{ rar, llamagen384: ours }, { rar }]) {
      const models = join(dir, String(sets.length));
      sets.push(models);
      await Deno.mkdir(models);
      for await (const { name } of Deno.readDir(tiny)) {
        if (name.endsWith(".safetensors")) await Deno.symlink(join(tiny, name), join(models, name));
      }
      await Deno.writeTextFile(join(models, "manifest.json"), JSON.stringify({ ...rest, families }));
      await setThresholds(models, false);
    }
    const image = await readImage(new URL("../examples/Dataset/val/rarb/001.png", import.meta.url).pathname);
    const mirrored = join(dir, "mirrored.png");
    const data = image.data.map((_, i) => {
      const at = Math.floor(i / 3), x = at % image.width;
      return image.data[3 * (at - x + image.width - 1 - x) + i % 3];
    });
    await Deno.writeFile(mirrored, await encodePng({ ...image, data }));
    const paths = [mirrored, ...await writeOutliers(join(dir, "images"), [96], 1)];
    const quick = { method: "perplexity", search: "quick" } as const;
    const [found, large] = await attribute(sets[0], paths, quick);
    const [alone] = await attribute(sets[1], paths.slice(0, 1), quick);
    assert.deepEqual(found.search, alone.search);
    assert.deepEqual(found.search!.poses.map(({ pose, families }) => [pose.mirror, Object.keys(families)]), [
      [true, ["rar"]],
    ]);
    assert.deepEqual(Object.keys(large.families), ["llamagen384"]);
    for (const { families } of large.search!.poses) assert.deepEqual(Object.keys(families), ["llamagen384"]);
  });
});

Deno.test("the tokenizer that two sizes share is loaded once", async () => {
  await withFolder(async (dir) => {
    const models = await prepare(dir);
    await setThresholds(models.both, true);
    await using tracer = await Tracer.open({ models: models.both, device: "cpu", method: "perplexity" });
    const { llamagen, llamagen384, rar } = tracer.run.pool.tokenizers;
    assert.equal(llamagen.weights, llamagen384.weights);
    assert.notEqual(llamagen.weights, rar.weights);
    assert.deepEqual([llamagen.imageSize, llamagen384.imageSize], [32, 48]);
  });
});

Deno.test("a set of two sizes is calibrated, evaluated and served; images of other sizes than their label's are refused", async () => {
  await withFolder(async (dir) => {
    const { both: models, large } = await prepare(dir);
    for (const [part, first, count] of [["train", 0, 3], ["val", 100, 2]] as const) {
      const out = join(dir, part);
      const { status } = await runGeneration({ models, variants: ["all"], count, first, out, device: "cpu" });
      assert.equal(status, "done");
    }
    await writeOutliers(join(dir, "val", "outlier"), [32, 48], 8);
    const labels = labelsOf(await openModelSet(models)), journal = join(dir, "all.sqlite");
    const folders = { train: join(dir, "train"), val: join(dir, "val") };
    const data = { ...folders, models, journal, device: "cpu", quantization: "sweeps" } as const;
    const calibrate = (more = {}) => runCalibration({ ...data, copies: 0, ...more, report: join(dir, "calibrate") });
    // Networks with random weights may make images whose verdicts are right by chance alone, which is refused.
    const calibrated = await calibrate().catch((error) => {
      assert.match(error.message, /joint: the confidence carries no information/);
      return calibrate({ thresholdsOnly: true });
    });
    assert.equal(calibrated.status, "done");
    const { calibration } = await loadCalibration(await openModelSet(models));
    assert.deepEqual(Object.keys(calibration.families), labels.families);

    // The same from fewer likelihoods. Nothing is measured that was there, and each image keeps its own family's.
    const out = join(dir, "open.json"), report = join(dir, "open");
    const open = await runCalibration({ ...data, copies: 0, likelihoods: "open", out, report }).catch((error) => {
      assert.match(error.message, /joint: the confidence carries no information/);
    });
    if (open !== undefined) {
      assert.deepEqual([open.status, open.computed], ["done", 0]);
      assert.deepEqual(open.calibration!.families, calibration.families);
      assert.deepEqual(Object.keys(open.calibration!.classifiers!.joint.families), labels.families);
    }
    const lines = (await Deno.readTextFile(join(report, "evidence.jsonl"))).trim().split("\n");
    for (const { image, variants } of lines.map((text): MeasuredLine => JSON.parse(text))) {
      const label = image.split("/")[1].split(" ")[0];
      if (label !== "outlier" && !image.includes(" after ")) assert.ok(label in variants, image);
    }

    const { evaluation, methods } = await runEvaluation({
      ...data,
      report: join(dir, "evaluate"),
      compare: true,
      resamples: 20,
    });
    assert.deepEqual(evaluation!.confusion.labels, labels.all);
    assert.ok(methods!.length > 0);
    const result = evaluation!.signals.find(({ family }) => family === "llamagen384")!;
    assert.equal(result.separations[0].others, 8, "outliers of 48 pixels");

    const paths = [join(dir, "val", "rarb", "100.png"), join(dir, "val", "llamagenl384", "100.png")];
    const verdicts = await attribute(models, paths, { journal });
    const again = await attribute(models, paths, { journal });
    assert.deepEqual(again.map(measuredOf), verdicts.map(measuredOf));
    const own = [[...labels.variants.rar, ...labels.variants.llamagen], labels.variants.llamagen384];
    verdicts.forEach(({ scores }, i) => {
      const possible = [...own[i], "outlier"];
      assert.ok(Object.keys(scores).every((label) => possible.includes(label)), `${Object.keys(scores)}`);
    });

    const items = verdicts.map((line, i) => {
      return { image: line.image, label: ["rarb", "llamagenl384"][i], source: "", row: featuresOf(line) };
    });
    const [csv] = await writeFeatureTable(featureTable(items), labels, join(dir, "features"));
    const table = await readFeatureCsv(csv, labels);
    assert.deepEqual(table.items.map(({ row }) => row), items.map(({ row }) => row));
    assert.ok(featureFigures(table, labels).size > 0);

    await using service = await openService({ TRACER_MODELS: models, TRACER_DEVICE: "cpu", TRACER_LOG: "off" });
    await service.ready;
    const form = new FormData();
    for (const path of [...paths, ...paths]) form.append("image", new File([await Deno.readFile(path)], "a.png"));
    const request = new Request("http://localhost/v1/attribute?maps=1", { method: "POST", body: form });
    const { images } = await (await service.fetch(request)).json();
    assert.deepEqual(
      images.map((image: { verdict: { scores: object } }) => Object.keys(image.verdict.scores)),
      [0, 1, 0, 1].map((i) => [...own[i], "outlier"]),
    );
    for (const { evidence, maps: { quantisation } } of images) {
      const { quantLoss } = evidence.families[quantisation.family];
      const mean = quantisation.values.reduce((a: number, b: number) => a + b) / quantisation.values.length;
      assert.ok(Math.abs(mean - quantLoss) <= 1e-3 * quantLoss, "the map is that of the image");
    }

    await Deno.copyFile(paths[0], join(dir, "train", "llamagenb384", "small.png"));
    await assert.rejects(
      calibrate(),
      /images of another size .*1 of llamagenb384 32x32 pixels, such as train\/llamagenb384\/small.png: .* draws 48x48/,
    );
    const set = await openModelSet(large), [imageName, path] = ["a.png", paths[0]], notes: string[] = [];
    await requireSizes(set, [{ imageName, path, label: "llamagenb384" }], labelsOf(set), {
      onNote: (text) => notes.push(text),
    });
    assert.match(notes.join(), /^images of another size .*llamagenb384 draws 48x48. They are resized/);
  });
});
