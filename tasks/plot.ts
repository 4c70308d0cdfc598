/**
 * `deno task plot <what> <of what>`: training curves, features, reliability and score functions, as SVG and PNG.
 * Draws with attribution/plot/; stdout has the names of the files.
 */
import { basename, dirname, join, resolve } from "node:path";
import { labelsOf } from "../attribution/labels.ts";
import { chooseModels } from "../attribution/run/choose_models.ts";
import {
  featureFigures,
  pradaOf,
  readFeatureCsv,
  reliabilityOf,
  writeFigures,
} from "../attribution/evaluation/plots.ts";
import { renderPng, renderSvg } from "../attribution/plot/chart.ts";
import { curvesSize, trainingCurves } from "../training/curves.ts";
import { readLog } from "../training/log.ts";
import { anyText, listOf } from "../util/options.ts";
import { defineCommand, type Input, runTask } from "./cli/command.ts";
import { jsonLines, models } from "./cli/options.ts";

export const command = defineCommand({
  name: "plot",
  about: "Draws diagrams of what other tasks have written, and prints the names of the .svg and .png files.",
  usage: [
    "train <run> [--out NAME]",
    "features <table.csv> [--features LIST] [--out DIR]",
    "reliability <evaluation.json> [--out DIR]",
    "prada <model set> [--out DIR]",
  ],
  actions: {
    train: "losses, token recovery, AUC and learning rate over epochs, from log.csv in the folder of a run",
    features:
      "of a table of deno task features: distributions per class, AUC of every pair of classes, and who scores " +
      "whose images how",
    reliability:
      "of an evaluation: share of right labels by confidence, per method with --compare, else per processing",
    prada: "the score functions that calibrate --extras prada has fitted",
  },
  operands: "a file or folder",
  options: {
    features: {
      value: "LIST",
      type: listOf(anyText),
      help: "features: only these, such as rar.encLoss,rarb.guided.mean",
      unset: "some of each kind",
    },
    models: { ...models, help: "features: the model set whose labels the table has" },
    out: {
      value: "NAME",
      help: "train: the files without extension; else a folder",
      unset: "train: curves in the folder of the run; else plots beside the file",
    },
    json: jsonLines("one with the names of the files"),
  },
});

async function main({ values, operands, progress }: Input<typeof command.options>): Promise<number> {
  const [action, of, ...rest] = operands;
  if (of === undefined || rest.length > 0) throw new Error(`${action}: expected one file or folder (--help)`);
  const files = action === "train" ? await plotTraining(of, values.out) : await plotFigures(action, of, values);
  progress.print(values.json ? JSON.stringify({ files }) + "\n" : files.join("\n") + "\n");
  return 0;
}

async function plotTraining(run: string, out = join(run, "curves")): Promise<readonly string[]> {
  const chart = trainingCurves(await readLog(run), `Fine-tuning: ${basename(resolve(run))}`);
  const { width, height } = curvesSize;
  await Deno.writeTextFile(`${out}.svg`, await renderSvg(chart, width, height));
  await Deno.writeFile(`${out}.png`, await renderPng(chart, width, height));
  return [`${out}.svg`, `${out}.png`];
}

async function plotFigures(
  action: string,
  of: string,
  { features, models, out = join(action === "prada" ? of : dirname(of), "plots") }: Input<
    typeof command.options
  >["values"],
): Promise<readonly string[]> {
  if (action === "features") {
    const labels = labelsOf(await chooseModels(models));
    return await writeFigures(out, featureFigures(await readFeatureCsv(of, labels), labels, features));
  }
  const figure = await (action === "prada" ? pradaOf(of) : reliabilityOf(of));
  return await writeFigures(out, new Map([[action, figure]]));
}

if (import.meta.main) await runTask(command, main);
