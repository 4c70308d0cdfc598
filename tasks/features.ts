/**
 * `deno task features <files or folders>`: the table of everything that is measured of images, as CSV and safetensors.
 * Runs attribution/evidence/features.ts; stdout has the names of the files.
 */
import { join } from "node:path";
import { loadCalibration } from "../attribution/decision/calibration_file.ts";
import { extrasFor } from "../attribution/decision/extras.ts";
import { isUnreadable } from "../attribution/evidence/evidence.ts";
import { type FeatureItem, featuresOf, featureTable, writeFeatureTable } from "../attribution/evidence/features.ts";
import { listLabelFolders, listWithTable } from "../attribution/images/labelled.ts";
import { type ListedImage, listImages } from "../attribution/images/list.ts";
import { type Label, type Labels, labelsOf } from "../attribution/labels.ts";
import { chooseModels } from "../attribution/run/choose_models.ts";
import { gatherLines } from "../attribution/run/measure_images.ts";
import { printable } from "../util/names.ts";
import { defineCommand, type Input, runTask } from "./cli/command.ts";
import { interruptible } from "./cli/interrupt.ts";
import { interruptedNote, journalNote } from "./cli/notes.ts";
import { condition, extras, jsonLines, limit, measuringOptions, report, signals, withJournal } from "./cli/options.ts";

export const command = defineCommand({
  name: "features",
  about:
    "Writes a table of everything that is measured of images: signals of both tokenizers, likelihoods of all variants.",
  usage: ["<files or folders> [options]", "--labelled DIR [options]"],
  operands: "image files or folders",
  options: {
    labelled: { value: "DIR", help: "a folder whose folders are labels, or any folder with --labels" },
    labels: { value: "FILE", help: "CSV with the columns image_name and label" },
    out: { value: "NAME", help: "NAME.csv and NAME.safetensors", unset: "features in the report's folder" },
    report: { ...report, default: "runs/features" },
    condition,
    signals,
    extras: { ...extras, help: "also the scores of these methods; prada needs a calibration that has it" },
    ...measuringOptions,
    limit,
    json: jsonLines("one with the names of the files"),
  },
  exitCodes: { 2: "done but some images could not be read and are left out", 130: "interrupted" },
});

type LabelledImage = ListedImage & { readonly label?: Label; readonly source?: string };

async function list(
  operands: readonly string[],
  { labelled, labels: table, limit }: { labelled?: string; labels?: string; limit?: number },
  labels: Labels,
): Promise<readonly LabelledImage[]> {
  if ((labelled === undefined) === (operands.length === 0)) {
    throw new Error("expected either files and folders, or --labelled DIR (--help)");
  }
  const images = labelled === undefined
    ? await listImages(operands)
    : table === undefined
    ? await listLabelFolders("--labelled", labelled, labels)
    : (await listWithTable("--labelled", labelled, table, labels)).images;
  return images.slice(0, limit);
}

async function main({ values, operands, progress }: Input<typeof command.options>): Promise<number> {
  const { condition, extras = [], json, out, ...options } = withJournal(values);
  const set = await chooseModels(options.models, progress.events);
  const labels = labelsOf(set);
  const images = await list(operands, options, labels);
  const { calibration } = await loadCalibration(set);
  if (extras.includes("prada") && calibration.classifiers?.prada === undefined) {
    throw new Error("--extras prada: the calibration has no score functions: run deno task calibrate --extras prada");
  }
  let unreadable = 0;
  const { summary, lines } = await gatherLines(set, images, {
    ...options,
    quantization: options.quantization ?? calibration.quantization,
    scoring: {
      condition,
      inference: calibration.classifiers?.inference,
      extras: extrasFor(extras, calibration.classifiers),
    },
    signal: interruptible(progress),
  }, {
    ...progress.events,
    onLine: (line) => {
      if (!isUnreadable(line)) return;
      unreadable++;
      progress.note(`unreadable, left out: ${printable(line.image)}: ${line.error.message}`);
    },
  });
  if (summary.status !== "done") {
    progress.note(interruptedNote(options.journal));
    return 130;
  }
  progress.note(journalNote(summary.images.computed, options.journal));
  const items = lines.flatMap((line, i): FeatureItem[] => {
    if (line === undefined) return [];
    const { label, source } = images[i];
    return [{ image: line.image, label, source, row: featuresOf(line) }];
  });
  if (items.length === 0) throw new Error(`none of ${images.length} images can be read`);
  const files = await writeFeatureTable(featureTable(items), labels, out ?? join(options.report, "features"));
  progress.print(json ? JSON.stringify({ files }) + "\n" : files.join("\n") + "\n");
  return unreadable > 0 ? 2 : 0;
}

if (import.meta.main) await runTask(command, main);
