/**
 * `deno task evaluate --val DIR`: how often verdicts are right, how well signals separate, what processing changes.
 * Runs the job of attribution/evaluation/run_evaluation.ts and shows its main numbers.
 */
import { transformNames } from "../attribution/images/augment/mod.ts";
import { type Processing, standardProcessing, standardProcessings } from "../attribution/images/edits/mod.ts";
import { type Estimate, type Evaluation, everythingElse } from "../attribution/evaluation/evaluate.ts";
import { aboutFigure, type FigureName } from "../attribution/evaluation/figures.ts";
import { describeEstimate, describeFigure } from "../attribution/evaluation/format.ts";
import { type EvaluationResult, runEvaluation } from "../attribution/evaluation/run_evaluation.ts";
import { zeroPixelRows } from "../attribution/evaluation/verdict_report.ts";
import { isUnreadable } from "../attribution/evidence/evidence.ts";
import { printable } from "../util/names.ts";
import { anyText, choice, listOf, type ValueType, whole } from "../util/options.ts";
import { defineCommand, type Input, runTask } from "./cli/command.ts";
import { folderOr } from "./cli/dataset.ts";
import { interruptible } from "./cli/interrupt.ts";
import { interruptedNote, journalNote, percent } from "./cli/notes.ts";
import { decisionOptions, jsonLines, limit, measuringOptions, seed, withJournal } from "./cli/options.ts";
import { textTable } from "./cli/table.ts";

/** `standard`, or names of standard processings with commas between them. */
const processingList: ValueType<readonly Processing[]> = {
  isList: true,
  parse: (text) =>
    text === "standard" ? standardProcessings : text.split(",").map((name) => standardProcessing(name.trim())),
};

export const command = defineCommand({
  name: "evaluate",
  about: "Evaluates verdicts and signals on images whose labels are known, and writes a report.",
  usage: ["[--val DIR] [options]"],
  options: {
    val: {
      value: "DIRS",
      type: listOf(anyText),
      help:
        "folder whose folders are labels (rarb ... var30, outlier; folders in outlier are separate sources), or any " +
        "folder with --labels; or several, with commas between them",
      unset: "Dataset/val in the working folder",
    },
    labels: {
      value: "FILES",
      type: listOf(anyText),
      help:
        "CSV with the columns image_name and label, source where outliers have several, and picture where several " +
        "images were made from one original; one for each of --val",
    },
    report: {
      value: "DIR",
      default: "runs/evaluate",
      help: "folder for report.html, evaluation.json, tables as CSV, and the evidence",
    },
    processing: {
      value: "LIST",
      type: processingList,
      help: `also after what happens to images: standard for all of ${
        standardProcessings.slice(1).map(({ name }) => name).join(", ")
      }, or some of them with commas between`,
    },
    strangers: {
      value: "LIST",
      type: listOf(anyText),
      help:
        "sources of outliers that went through a tokenizer of the set, whose right finding is family, with commas " +
        "between them: figures without them are given as well",
    },
    limits: {
      value: "FILE",
      help: "also put the tables of limits.md into this Markdown document, between its two marks",
    },
    stability: {
      value: "N",
      type: whole(1, 1000),
      help: "compare each verdict with those after N changes that nobody sees",
    },
    robustness: { help: "also under the reference's attacks: every one at all strengths" },
    attacks: {
      value: "LIST",
      type: listOf(choice(transformNames)),
      help: "only these attacks, with commas between them",
    },
    baselines: {
      help: "also AEDR, Reconstruction and LatentTracer, with the encoders that the tokenizers came with; slow",
    },
    compare: { help: "also all methods beside one another: runs all variants over all images" },
    ...decisionOptions,
    ...measuringOptions,
    limit: { ...limit, help: "at most N images per label" },
    seed: { ...seed, help: "of intervals and of what transforms draw" },
    resamples: { value: "N", type: whole(1, 1_000_000), default: "1000", help: "bootstrap samples" },
    json: jsonLines("one with the whole evaluation"),
  },
  exitCodes: { 2: "done but some images could not be read and are left out", 130: "interrupted" },
});

function estimate({ value, interval }: Estimate): string[] {
  if (value === null) return ["-", "-"];
  return [percent(value), interval === null ? "-" : `${(100 * interval.low).toFixed(1)} to ${percent(interval.high)}`];
}

/** Figures by processing, rates of being right, and the confusion matrix without the labels that never occur. */
function verdictTables({ evaluation, processings, zeroPixels }: Required<EvaluationResult>): string[] {
  const { images, confusion: { labels, counts } } = evaluation;
  const rates = {
    "accuracy, all labels": evaluation.accuracy,
    "family accuracy": evaluation.familyAccuracy,
    "variant, given the family": evaluation.variantAccuracy,
    "outlier recall": evaluation.outlierRecall,
    "outlier precision": evaluation.outlierPrecision,
  };
  const shown = labels.map((_, i) => i).filter((i) =>
    counts.some((row, j) => row[i] > 0 || (i === j && row.some((n) => n > 0)))
  );
  return [
    textTable([`${images} images`, "", "95 %"], Object.entries(rates).map(([name, e]) => [name, ...estimate(e)])),
    textTable(
      ["right about", "this tool", "zero pixels", "chance", ""],
      zeroPixelRows(zeroPixels, evaluation, processings),
    ),
    textTable(
      ["true label \\ said", ...shown.map((i) => labels[i])],
      shown.map((i) => [labels[i], ...shown.map((j) => String(counts[i][j]))]),
    ),
    processingTable(processings),
    "accused: outliers named a model; exonerated: generated images called none; sure: that with confidence 0.9 or more;\n" +
    "at 80 %: labels right among the most confident 80 %; error: of calibration; intervals are in report.html\n",
  ];
}

/** Columns of the table by processing, with short heads; the report has all, with intervals. */
const processingColumns: readonly (readonly [head: string, name: FigureName])[] = [
  ...[["labels", "accuracy"], ["families", "familyAccuracy"], ["accused", "accused"]] as const,
  ...[["sure", "surelyAccused"], ["exonerated", "exonerated"], ["sure", "surelyExonerated"]] as const,
  ...[["inconclusive", "inconclusive"], ["AUROC", "auroc"], ["at 80 %", "accuracyAt80"]] as const,
  ...[["error", "calibrationError"], ["Cllr", "cllr"]] as const,
];

/** A figure without its interval. */
function shown({ value }: Estimate, unit: "share" | "number"): string {
  return describeEstimate({ value, interval: null }, unit);
}

function processingTable(processings: Required<EvaluationResult>["processings"]): string {
  return textTable(
    ["processing", "images", ...processingColumns.map(([head]) => head)],
    processings.map(({ title, all }) => [
      ...[title, String(all.images)],
      ...processingColumns.map(([, name]) => shown(all.figures[name], aboutFigure(name).unit)),
    ]),
  );
}

/** What each kind of threshold gives, and how well each signal separates. */
function signalTables({ strategies, signals }: Evaluation): string[] {
  const rows = signals.flatMap(({ family, title, decides, separations }) =>
    separations.filter(({ nonmembers }) => [everythingElse, "outlier"].includes(nonmembers))
      .map(({ nonmembers, auc, tpr }) => [
        ...[family, title, nonmembers, auc.value?.toFixed(4) ?? "-"],
        ...estimate(tpr),
        decides ? "decides" : "",
      ])
  );
  return [
    textTable(
      ["strategy", "family accuracy", "95 %", "outlier recall", "95 %", "outlier precision", "95 %", ""],
      strategies.map(({ threshold, decides, familyAccuracy, outlierRecall, outlierPrecision }) => [
        threshold,
        ...[familyAccuracy, outlierRecall, outlierPrecision].flatMap(estimate),
        decides ? "decides" : "",
      ]),
    ),
    textTable(["family", "signal", "against", "AUC", "TPR at 1 % FPR", "95 %", ""], rows),
  ];
}

/** All methods with the columns of processings, and the variants that they find when they are told the family. */
function methodTable(methods: Required<EvaluationResult>["methods"]): string {
  const families = Object.keys(methods[0].variants);
  return textTable(
    ["method", ...processingColumns.map(([head]) => head), ...families.map((family) => `variant, ${family} given`)],
    methods.map(({ method, figures, variants }) => [
      method,
      ...processingColumns.map(([, name]) => shown(figures[name], aboutFigure(name).unit)),
      ...families.map((family) => shown(variants[family], "share")),
    ]),
  );
}

const robustnessFigures: readonly FigureName[] = ["accuracy", "familyAccuracy", "accused", "exonerated", "auroc"];

function robustnessTable(points: Required<EvaluationResult>["robustness"]): string {
  return textTable(
    ["attack", "strength", ...robustnessFigures.map((name) => aboutFigure(name).title)],
    points.map(({ attack, strength, figures }) => [
      ...[attack, String(strength)],
      ...robustnessFigures.map((name) => describeFigure(name, figures)),
    ]),
  );
}

function stabilityTable({ unstable, unstableRight, stableRight }: Required<EvaluationResult>["stability"]): string {
  return textTable(["after light changes", "share (95 %)"], [
    ["unstable images", describeEstimate(unstable)],
    ["labels right among them", describeEstimate(unstableRight)],
    ["labels right among the others", describeEstimate(stableRight)],
  ]);
}

function tables(result: Required<EvaluationResult>): string {
  const { evaluation, robustness, methods, stability } = result;
  const parts = [...verdictTables(result), ...signalTables(evaluation)];
  if (methods.length > 0) {
    parts.push(methodTable(methods));
  }
  if (stability !== undefined) parts.push(stabilityTable(stability));
  if (robustness.length > 0) parts.push(robustnessTable(robustness));
  return parts.join("\n");
}

async function main({ values, progress }: Input<typeof command.options>): Promise<number> {
  const { json, limit, attacks, threshold, outlierPrior, ...job } = withJournal(values);
  const val = await folderOr(job.val, "val", progress);
  if (val === undefined) throw new Error("expected --val DIR (--help)");
  let stage = "";
  const result = await runEvaluation({
    ...{ ...job, val },
    limitPerLabel: limit,
    robustness: attacks ?? job.robustness,
    rules: { threshold, outlierPrior },
    signal: interruptible(progress),
  }, {
    ...progress.events,
    onStage: (name) => stage = name,
    onStart: (total) => {
      progress.note(`${stage}: ${total} images`);
      progress.start(total);
    },
    onLine: (line) => {
      if (isUnreadable(line)) progress.note(`unreadable, left out: ${printable(line.image)}: ${line.error.message}`);
    },
  });
  if (result.status === "interrupted") {
    progress.note(interruptedNote(job.journal));
    return 130;
  }
  const done = result as Required<EvaluationResult>;
  progress.print(json ? JSON.stringify(done) + "\n" : tables(done));
  for (const note of done.notes) progress.note(note);
  progress.note(journalNote(done.computed, job.journal));
  progress.note(done.files.join(", "));
  return done.unreadable.length > 0 ? 2 : 0;
}

if (import.meta.main) await runTask(command, main);
