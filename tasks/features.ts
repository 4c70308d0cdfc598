/**
 * `deno task features <files or folders>`: the table of everything that is measured of images, as CSV and safetensors.
 * Parses the command line, runs attribution/evidence/; stdout has the names of the files.
 */
import { join } from "node:path";
import { loadCalibration } from "../attribution/decision/calibration_file.ts";
import { listLabelFolders, listWithTable } from "../attribution/images/labelled.ts";
import { isUnreadable } from "../attribution/evidence/evidence.ts";
import { extrasFor } from "../attribution/decision/extras.ts";
import { type FeatureItem, featuresOf, featureTable, writeFeatureTable } from "../attribution/evidence/features.ts";
import { listImages } from "../attribution/images/list.ts";
import type { ListedImage } from "../attribution/images/list.ts";
import { chooseModels } from "../attribution/run/attribute.ts";
import type { Label } from "../attribution/labels.ts";
import { gatherLines } from "../attribution/run/measure_images.ts";
import { choice, parseOptions } from "./cli/args.ts";
import { interruptible } from "./cli/interrupt.ts";
import {
  fail,
  interruptedNote,
  journalNote,
  journalUsage,
  measuringOptions,
  measuringUsage,
  measuringValues,
} from "./cli/measuring.ts";
import { Progress, writeStdout } from "./cli/progress.ts";

const usage =
  `Writes a table of everything that is measured of images: signals of both tokenizers, likelihoods of all variants.

usage: deno task features <files or folders> [options]
       deno task features --labelled DIR [options]

  --labelled DIR      a folder whose folders are labels, or any folder with --labels
  --labels FILE       CSV with the columns image_name and label
  --models DIR        set of weights (default weights/official where it is complete, else weights/tiny)
  --out NAME          NAME.csv and NAME.safetensors (default: features in the report's folder)
  --report DIR        evidence.jsonl and summary.json of this run (default runs/features)
${journalUsage}
  --condition NAME    none or infer: class under which tokens are scored (default infer)
  --signals LEVEL     core or all (default all)
  --extras LIST       membership, prada (with a calibration that has them)
  --quantization NAME how VAR's tokens are found (default: as the set was calibrated)
${measuringUsage}
  --help              this text

Prints the names of the files. Exit code: 0 done, 1 usage or fatal error, 2 done but some images could not be read (they are
left out), 130 interrupted.`;

async function main(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseOptions(args, {
    ...measuringOptions,
    labelled: { type: "string" },
    labels: { type: "string" },
    out: { type: "string" },
    condition: { type: "string", default: "infer" },
    signals: { type: "string", default: "all" },
    extras: { type: "string" },
    help: { type: "boolean", short: "h", default: false },
  });
  if (values.help) {
    writeStdout(usage + "\n");
    return 0;
  }
  const { labelled, labels } = values;
  if ((labelled === undefined) === (positionals.length === 0)) {
    throw new Error("expected either files and folders, or --labelled DIR (--help)");
  }
  const extras = values.extras?.split(",").map((name) => choice("--extras", name, ["membership", "prada"])) ?? [];
  const condition = choice("--condition", values.condition, ["none", "infer"]);
  const signals = choice("--signals", values.signals, ["core", "all"]);
  const measuring = measuringValues(values, "runs/features");
  const images: readonly (ListedImage & { label?: Label; source?: string })[] = labelled === undefined
    ? await listImages(positionals)
    : labels === undefined
    ? await listLabelFolders("--labelled", labelled)
    : (await listWithTable("--labelled", labelled, labels)).images;
  const progress = new Progress();
  const set = await chooseModels(measuring.models, { onNote: (text) => progress.note(`features: ${text}`) });
  const { calibration } = await loadCalibration(set);
  if (extras.includes("prada") && calibration.classifiers?.prada === undefined) {
    throw new Error("--extras prada: the calibration has no score functions: run deno task calibrate --extras prada");
  }
  let unreadable = 0;
  const { summary, lines } = await gatherLines(set, images, {
    ...measuring,
    quantization: measuring.quantization ?? calibration.quantization,
    signals,
    scoring: {
      condition,
      inference: calibration.classifiers?.inference,
      extras: extrasFor(extras, calibration.classifiers),
    },
    signal: interruptible("features", progress),
  }, {
    onNote: (text) => progress.note(`features: ${text}`),
    onPrepare: (text) => progress.prepare(text),
    onStart: (total) => progress.start(total),
    onProgress: (images) => progress.update(images),
    onLine: (line) => {
      if (!isUnreadable(line)) return;
      unreadable++;
      progress.note(`features: unreadable, left out: ${line.image}: ${line.error.message}`);
    },
  });
  progress.clear();
  if (summary.status !== "done") {
    progress.note(`features: ${interruptedNote(measuring.journal)}`);
    return 130;
  }
  progress.note(`features: ${journalNote(summary.images.computed, measuring.journal)}`);
  const items = lines.flatMap((line, i): FeatureItem[] => {
    if (line === undefined) return [];
    const { label, source } = images[i];
    return [{ image: line.image, label, source, row: featuresOf(line) }];
  });
  if (items.length === 0) throw new Error(`none of ${images.length} images can be read`);
  const files = await writeFeatureTable(featureTable(items), values.out ?? join(measuring.report, "features"));
  writeStdout(files.join("\n") + "\n");
  return unreadable > 0 ? 2 : 0;
}

if (import.meta.main) {
  try {
    Deno.exit(await main(Deno.args));
  } catch (error) {
    fail("features", error);
  }
}
