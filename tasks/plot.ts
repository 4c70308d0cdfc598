/**
 * `deno task plot train <run>`: the curves of a training run, as SVG and PNG.
 * Parses the command line, draws with attribution/plot/; stdout has the names of the files.
 */
import { basename, join, resolve } from "node:path";
import { renderPng, renderSvg } from "../attribution/plot/chart.ts";
import { curvesSize, trainingCurves } from "../attribution/training/curves.ts";
import { readLog } from "../attribution/training/log.ts";
import { choice, parseOptions } from "./cli/args.ts";
import { writeStdout } from "./cli/progress.ts";

const usage = `Draws diagrams of what other tasks have written.

usage: deno task plot train <run> [options]

  train <run>     losses, token recovery, AUC and learning rate over epochs, from log.csv in the folder of a run

  --out NAME      where the files go, without extension (default: curves in the folder of the run)
  --help          this text

Writes NAME.svg and NAME.png and prints their names.`;

async function main(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseOptions(args, {
    out: { type: "string" },
    help: { type: "boolean", short: "h", default: false },
  });
  if (values.help) {
    writeStdout(usage + "\n");
    return 0;
  }
  const [kind, run, ...rest] = positionals;
  if (kind === undefined) throw new Error("expected what to plot: train <run> (--help)");
  choice("what to plot", kind, ["train"]);
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
