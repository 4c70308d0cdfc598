/**
 * Sets of one family work everywhere: generate, calibrate, attribute, evaluate, features, train, and the service. Nothing in
 * them knows how many families there are.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { runCalibration } from "../attribution/calibration/calibrate.ts";
import { loadCalibration } from "../attribution/decision/calibration_file.ts";
import { defaultFeatures, featureFigures, readFeatureCsv } from "../attribution/evaluation/plots.ts";
import { standardProcessing } from "../attribution/images/edits/mod.ts";
import { runEvaluation } from "../attribution/evaluation/run_evaluation.ts";
import { isUnreadable } from "../attribution/evidence/evidence.ts";
import { featuresOf, featureTable, writeFeatureTable } from "../attribution/evidence/features.ts";
import { encodePng } from "../attribution/images/decode.ts";
import { labelsOf } from "../attribution/labels.ts";
import { Tracer } from "../attribution/run/tracer.ts";
import { openService } from "../attribution/service/mod.ts";
import { runGeneration } from "../generation/mod.ts";
import { openModelSet } from "../models/model_set.ts";
import { runTraining } from "../training/mod.ts";
import { withFolder } from "./attribution/files.ts";
import { goldenImage } from "./attribution/golden_image.ts";
import { copyStandIns } from "./sets.ts";

/** A set of the stand-ins of one family in `dir`/models, with label folders train and val of images that it drew. */
async function prepare(dir: string, family: string): Promise<string> {
  const models = join(dir, "models");
  await copyStandIns(models);
  const path = join(models, "manifest.json");
  const { calibration: _, families, ...rest } = JSON.parse(await Deno.readTextFile(path));
  await Deno.writeTextFile(path, JSON.stringify({ ...rest, families: { [family]: families[family] } }));
  for (const [part, first, count] of [["train", 0, 4], ["val", 100, 3]] as const) {
    const out = join(dir, part);
    const { status } = await runGeneration({ models, variants: ["all"], count, first, out, device: "cpu" });
    assert.equal(status, "done");
  }
  const { imageSize } = (await openModelSet(models)).tokenizerFacts(family);
  await Deno.mkdir(join(dir, "val", "outlier"));
  for (let i = 0; i < 8; i++) {
    await Deno.writeFile(
      join(dir, "val", "outlier", `${i}.png`),
      await encodePng(goldenImage(50 + i, imageSize, imageSize)),
    );
  }
  return models;
}

for (const family of ["rar", "var"]) {
  Deno.test(`a set with the family ${family} alone is calibrated, attributes, is evaluated, trained and served`, async () => {
    await withFolder(async (dir) => {
      const models = await prepare(dir, family);
      const labels = labelsOf(await openModelSet(models));
      const variants = labels.variants[family];
      assert.deepEqual(labels.all, [...variants, "outlier"]);

      const journal = join(dir, "all.sqlite");
      const data = {
        train: join(dir, "train"),
        val: join(dir, "val"),
        models,
        journal,
        device: "cpu",
        quantization: "sweeps",
        copies: 0,
      } as const;
      const calibrate = (more = {}) => runCalibration({ ...data, ...more, report: join(dir, "calibrate") });
      // Networks with random weights may make images whose verdicts are right by chance alone, which is refused.
      const calibrated = await calibrate().catch((error) => {
        assert.match(error.message, /joint: the confidence carries no information/);
        return calibrate({ thresholdsOnly: true });
      });
      assert.equal(calibrated.status, "done");
      const set = await openModelSet(models);
      const { calibration } = await loadCalibration(set);
      assert.deepEqual(Object.keys(calibration.families), [family]);
      const { classifiers } = calibration;
      if (classifiers !== undefined) assert.deepEqual(Object.keys(classifiers.joint.families), [family]);

      const { evaluation, processings, methods, files } = await runEvaluation({
        ...data,
        report: join(dir, "evaluate"),
        compare: true,
        processing: [standardProcessing("mirrored")],
        resamples: 20,
      });
      assert.deepEqual(evaluation!.familyConfusion.labels, [family, "outlier"]);
      assert.deepEqual(evaluation!.confusion.labels, labels.all);
      assert.deepEqual(
        methods!.map(({ method }) => method),
        classifiers === undefined ? ["perplexity"] : ["joint", "two-stage", "perplexity", "own-sample"],
      );
      for (const result of methods!) assert.deepEqual(Object.keys(result.variants), [family]);
      assert.deepEqual(processings!.map(({ name }) => name), ["none", "mirrored", "all"]);
      assert.ok(files!.some((file) => file.endsWith("report.html")));

      // A second run measures nothing: the journal has tokens and evidence of this family alone.
      const path = join(dir, "val", variants[0], "100.png");
      await using tracer = await Tracer.open({ models, journal, device: "cpu", signals: "all" });
      const verdicts = await Array.fromAsync(tracer.attribute([path, await Deno.readFile(path)]));
      assert.equal(tracer.run.counts.computed, 0);
      const rows = verdicts.map((line) => {
        assert.ok(!isUnreadable(line), "readable");
        assert.deepEqual(Object.keys(line.families), [family]);
        if (classifiers !== undefined) assert.deepEqual(Object.keys(line.scores).sort(), [...labels.all].sort());
        return { image: line.image, label: variants[0], row: featuresOf(line) };
      });
      assert.deepEqual(verdicts.map(({ image }) => image), ["100.png", "image-2"]);

      const [csv] = await writeFeatureTable(featureTable(rows), labels, join(dir, "features"));
      const table = await readFeatureCsv(csv, labels);
      assert.ok(defaultFeatures(labels).every((name) => table.names.includes(name)));
      assert.ok(featureFigures(table, labels).size > 0);

      const trained = await runTraining({
        family,
        models,
        data: [join(dir, "train")],
        run: join(dir, "run"),
        device: "cpu",
        recipe: { epochs: 1, batch: 4 },
      });
      assert.equal(trained.last!.auc, null, "there is no other family to compare with");

      await using service = await openService({ TRACER_MODELS: models, TRACER_DEVICE: "cpu", TRACER_LOG: "off" });
      await service.ready;
      const about = await (await service.fetch(new Request("http://localhost/v1/models"))).json();
      assert.deepEqual([about.variants, about.labels], [{ [family]: [...variants] }, [...labels.all]]);
      const request = new Request("http://localhost/v1/attribute?maps=1", {
        method: "POST",
        headers: { "content-type": "image/png" },
        body: await Deno.readFile(path),
      });
      const { images: [answer] } = await (await service.fetch(request)).json();
      assert.deepEqual(Object.keys(answer.verdict.scores), [...labels.all]);
      assert.equal(answer.maps.quantisation.family, family);
    });
  });
}
