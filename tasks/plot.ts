/**
 * `deno task plot <what> <of what>`: training curves, features, reliability and score functions, as SVG and PNG.
 * Parses the command line, draws with attribution/plot/; stdout has the names of the files.
 */
import { basename, dirname, join, resolve } from "node:path";
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
import { choice, parseOptions } from "./cli/args.ts";
import { writeStdout } from "./cli/progress.ts";

const usage = `Draws diagrams of what other tasks have written.

usage: deno task plot train <run> [--out NAME]
       deno task plot features <table.csv> [--features LIST] [--out DIR]
       deno task plot reliability <evaluation.json> [--out DIR]
       deno task plot prada <model set> [--out DIR]

  train           losses, token recovery, AUC and learning rate over epochs, from log.csv in the folder of a run
  features        of a table of deno task features: distributions per class, AUC of every pair of classes, and who scores
                  whose images how
  reliability     of an evaluation with --compare: the rate of being right by confidence, per method
  prada           the score functions that calibrate --extras prada has fitted

  --features LIST such as rar.encLoss,rarb.guided.mean (default: some of each kind)
  --out           train: the files without extension (default: curves in the folder of the run); else a folder (default:
                  plots beside the file)
  --help          this text

Writes .svg and .png files and prints their names.`;

async function main(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseOptions(args, {
    out: { type: "string" },
    features: { type: "string" },
    help: { type: "boolean", short: "h", default: false },
  });
  if (values.help) {
    writeStdout(usage + "\n");
    return 0;
  }
  const [kind, run, ...rest] = positionals;
  if (kind === undefined) throw new Error("expected what to plot: train, features, reliability or prada (--help)");
  const what = choice("what to plot", kind, ["train", "features", "reliability", "prada"]);
  if (what !== "train") {
    if (run === undefined || rest.length > 0) throw new Error(`plot ${what}: expected one file or folder (--help)`);
    const dir = values.out ?? join(what === "prada" ? run : dirname(run), "plots");
    const figures = what === "features"
      ? featureFigures(await readFeatureCsv(run), values.features?.split(","))
      : new Map([[what, await (what === "prada" ? pradaOf(run) : reliabilityOf(run))]]);
    writeStdout((await writeFigures(dir, figures)).join("\n") + "\n");
    return 0;
  }
  if (run === undefined || rest.length > 0) throw new Error("plot train: expected the folder of one run (--help)");
  const chart = trainingCurves(await readLog(run), `Fine-tuning: ${basename(resolve(run))}`);
  const { width, height } = curvesSize;
  const out = values.out ?? join(run, "curves");
  await Deno.writeTextFile(`${out}.svg`, await renderSvg(chart, width, height));
  await Deno.writeFile(`${out}.png`, await renderPng(chart, width, height));
  writeStdout(`${out}.svg\n${out}.png\n`);
  return 0;
}

if (import.meta.main) {
  try {
    Deno.exit(await main(Deno.args));
  } catch (error) {
    console.error(`plot: ${error instanceof Error ? error.message : String(error)}`);
    Deno.exit(1);
  }
}
