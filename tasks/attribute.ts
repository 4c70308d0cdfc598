/**
 * `deno task attribute <files or folders>`: which model generated each image.
 * Runs the job of attribution/run/attribute.ts and shows it; stdout has nothing but results.
 */
import { conditionNames } from "../attribution/evidence/evidence.ts";
import { evidenceMethod } from "../attribution/decision/methods.ts";
import { labelsOf } from "../attribution/labels.ts";
import { type ListedImage, listImages } from "../attribution/images/list.ts";
import { attributeFiles, listInputs, type Summary } from "../attribution/run/attribute.ts";
import { chooseModels } from "../attribution/run/choose_models.ts";
import { parseShard } from "../attribution/run/journal/shards.ts";
import { journalIn } from "../attribution/run/report.ts";
import { submissionColumns } from "../attribution/run/submission.ts";
import { choice, listOf, real } from "../util/options.ts";
import { defineCommand, type Input, runTask } from "./cli/command.ts";
import { datasetPart } from "./cli/dataset.ts";
import { readFileList } from "./cli/files_from.ts";
import { format, formatOf, openPrinter, unreadableNote } from "./cli/formats.ts";
import { interruptible } from "./cli/interrupt.ts";
import { interruptedNote } from "./cli/notes.ts";
import { decisionOptions, jsonLines, limit, measuringOptions, report } from "./cli/options.ts";
import { duration, type Progress } from "./cli/progress.ts";
import { Score } from "./cli/score.ts";
import { findingSummary } from "./cli/verdicts.ts";

export const command = defineCommand({
  name: "attribute",
  about:
    "Says for each image what was found (a known model made it, it fits a known tokenizer, no trace, cannot tell, " +
    "nothing to measure), and which image-autoregressive model is the best label for it, or outlier.",
  usage: ["[<files or folders>...] [options]"],
  operands: "image files or folders",
  options: {
    filesFrom: {
      value: "FILE",
      help:
        "also the images and folders that this file lists, one a line or with NUL after each; - is standard input; " +
        "images are then named by their paths as given",
    },
    out: { value: "FILE", help: "table of labels, image_name,label", unset: "submission.csv; of a shard, none" },
    columns: {
      value: "LIST",
      type: listOf(choice(submissionColumns)),
      help: "columns of the table beside image_name,label; also of --format csv",
      unset: "none",
    },
    force: { help: "replace a file at --out that another run has written; a run replaces its table without" },
    labels: {
      value: "FILE",
      help: "table of true labels, image_name,label: the run ends with how many verdicts agree",
    },
    report,
    ...decisionOptions,
    condition: {
      value: "NAME",
      type: choice(conditionNames),
      help: "the class under which tokens are scored",
      unset: "what the method is made for",
    },
    classes: { value: "FILE", help: "table of classes, image_name,class; implies --condition given" },
    unsureBelow: {
      value: "P",
      type: real(0, 1),
      help: "mark verdicts of lower confidence as unsure; the table keeps the best label",
      unset: "what the calibration measured: verdicts that are not unsure are right in 95 %",
    },
    uncalibrated: {
      help: "with a set that is not calibrated: report what was measured, without verdicts; labels stay empty",
    },
    ...measuringOptions,
    shard: {
      value: "I/N",
      type: { parse: parseShard },
      help: "only the images of this shard, by content; needs --journal; deno task journal merge joins shards",
    },
    limit,
    format,
    json: jsonLines("one per image with its evidence; the same as --format jsonl"),
  },
  notes: "Without files, folders and --files-from, the images of Dataset/test in the working folder are taken.\n" +
    'Images are PNG, JPEG or WebP. One that cannot be read gets the label "unreadable" and the run goes on.\n' +
    "Ctrl-C finishes the pass in progress and writes what is done; with --journal or --report the same command " +
    "continues.",
  exitCodes: {
    2: "done but some images could not be read",
    3: "done but no image could be read",
    130: "interrupted",
  },
});

function describe({ images, labels, unsure, seconds }: Summary): string {
  const counts = Object.entries(labels).map(([label, count]) => `${label} ${count}`).sort().join(", ");
  const rate = seconds > 0 ? ` (${Number((images.done / seconds).toPrecision(3))} images/s)` : "";
  const recalled = images.recalled > 0 ? `, ${images.recalled} from earlier runs` : "";
  return `${images.done} of ${images.total} images in ${duration(seconds)}${rate}${recalled}: ${counts || "none"}` +
    (unsure > 0 ? `; ${unsure} unsure` : "");
}

/** The files and folders that are named, or the images of a list; else Dataset/test, which the user is then told. */
async function inputsOf(
  operands: readonly string[],
  filesFrom: string | undefined,
  progress: Progress,
): Promise<readonly string[] | readonly ListedImage[]> {
  if (filesFrom !== undefined) {
    return await listImages([...operands, ...await readFileList(filesFrom)], { wholePaths: true });
  }
  if (operands.length > 0) return operands;
  const folder = await datasetPart("test");
  if (folder === undefined) throw new Error("expected image files or folders (--help)");
  progress.note(`no images were named: using ${folder}`);
  return [folder];
}

async function main({ values, operands, progress }: Input<typeof command.options>): Promise<number> {
  const { json, format: named, filesFrom, labels, resume, outlierPrior, threshold, uncalibrated, ...options } = values;
  if (uncalibrated && (options.method !== undefined || labels !== undefined)) {
    throw new Error(
      `--uncalibrated: gives no verdicts, so --${labels === undefined ? "method" : "labels"} is not for it`,
    );
  }
  const format = formatOf({ json, format: named });
  const inputs = await listInputs(await inputsOf(operands, filesFrom, progress));
  const images = inputs.slice(0, options.limit);
  if (resume && options.report === undefined && options.journal === undefined) {
    throw new Error("--resume: expects --report DIR, the folder that has the evidence, or --journal FILE");
  }
  // A shard's table would be a part of one, under the name of the whole.
  const out = options.out ?? (options.shard === undefined ? "submission.csv" : undefined);
  const models = await chooseModels(options.models, progress.events);
  const score = labels === undefined ? undefined : await Score.open(labels, labelsOf(models));
  if (score !== undefined) {
    score.requireMatch(images);
    if (score.note !== undefined) progress.note(score.note);
  }
  const printer = openPrinter(format, progress, {
    images: images.map(({ imageName }) => imageName),
    columns: options.columns,
  });
  const rules = { outlierPrior, threshold };
  const signal = interruptible(progress);
  const summary = await attributeFiles({
    ...options,
    ...uncalibrated && { method: evidenceMethod },
    models,
    inputs,
    out,
    rules,
    signal,
  }, {
    ...progress.events,
    onLine: (line) => {
      const note = unreadableNote(line, format);
      if (note !== undefined) progress.note(note);
      score?.add(line);
      printer.add(line);
    },
  });
  printer.end();
  if (score !== undefined) {
    if (format === "table") progress.print("\n" + score.table());
    else progress.note(score.table());
  }
  return end(summary, { ...options, out }, progress);
}

/** Says what a run did and found, and what its exit code is. */
function end(
  summary: Summary,
  { out, shard, report, journal = report === undefined ? undefined : journalIn(report) }: Pick<
    Input<typeof command.options>["values"],
    "out" | "shard" | "report" | "journal"
  >,
  progress: Progress,
): number {
  const { images, status } = summary;
  progress.note(
    [
      describe(summary) + (images.done > 0 && out !== undefined ? `; ${out} has ${images.done} rows` : ""),
      findingSummary(summary).trimEnd(),
    ].filter((part) => part !== "").join("\n"),
  );
  if (status === "interrupted") {
    progress.note(
      journal === undefined
        ? "interrupted; with --journal FILE or --report DIR, a run can be continued"
        : interruptedNote(journal),
    );
    return 130;
  }
  if (images.unreadable === 0) return 0;
  // A shard may happen to have the unreadable images only; the others are in other shards.
  return images.unreadable === images.done && shard === undefined ? 3 : 2;
}

/** Runs the task as the program (`deno task compile`). */
export const run = (): Promise<never> => runTask(command, main);

if (import.meta.main) await run();
