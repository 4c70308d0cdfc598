/**
 * `deno task evaluate --val DIR`: how often verdicts are right, how well signals separate, what processing changes.
 * Runs the job of attribution/evaluation/run_evaluation.ts and shows its main numbers.
 */
import { transformNames } from "../attribution/images/augment/mod.ts";
import { type Estimate, type Evaluation, everythingElse } from "../attribution/evaluation/evaluate.ts";
import { type EvaluationResult, runEvaluation } from "../attribution/evaluation/run_evaluation.ts";
import { methodColumns } from "../attribution/evaluation/methods.ts";
import { methodRows } from "../attribution/evaluation/report.ts";
import { isUnreadable } from "../attribution/evidence/evidence.ts";
import { printable } from "../util/names.ts";
import { choice, listOf, whole } from "../util/options.ts";
import { defineCommand, type Input, runTask } from "./cli/command.ts";
import { folderOr } from "./cli/dataset.ts";
import { interruptible } from "./cli/interrupt.ts";
import { interruptedNote, journalNote, percent } from "./cli/notes.ts";
import { decisionOptions, json, limit, measuringOptions, seed, withJournal } from "./cli/options.ts";
import { textTable } from "./cli/table.ts";

export const command = defineCommand({
  name: "evaluate",
  about: "Evaluates verdicts and signals on images whose labels are known, and writes a report.",
  usage: ["[--val DIR] [options]"],
  options: {
    val: {
      value: "DIR",
      help:
        "folder whose folders are labels (rarb ... var30, outlier; folders in outlier are separate sources), or any " +
        "folder with --labels",
      unset: "Dataset/val in the working folder",
    },
    labels: {
      value: "FILE",
      help: "CSV with the columns image_name and label, and source where outliers have several",
    },
    report: {
      value: "DIR",
      default: "runs/evaluate",
      help: "folder for report.html, evaluation.json, tables as CSV, and the evidence",
    },
    robustness: { help: "also on processed images: every attack at all strengths of the reference" },
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
    json: { ...json, help: "the whole evaluation as JSON, instead of tables" },
  },
  exitCodes: { 2: "done but some images could not be read and are left out", 130: "interrupted" },
});

function estimate({ value, interval }: Estimate): string[] {
  if (value === null) return ["-", "-"];
  return [percent(value), interval === null ? "-" : `${(100 * interval.low).toFixed(1)} to ${percent(interval.high)}`];
}

/** Rates of being right, and the confusion matrix without the labels that never occur. */
function verdictTables({ images, confusion: { labels, counts }, ...evaluation }: Evaluation): string[] {
  const rates = {
    "accuracy, nine labels": evaluation.accuracy,
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
      ["true label \\ said", ...shown.map((i) => labels[i])],
      shown.map((i) => [labels[i], ...shown.map((j) => String(counts[i][j]))]),
    ),
  ];
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

function robustnessTable(points: Required<EvaluationResult>["robustness"]): string {
  return textTable(
    [
      ...["attack", "strength", "family accuracy", "outlier recall"],
      ...Object.keys(points[0].separation).map((family) => `${family} TPR at 1 % FPR`),
    ],
    points.map(({ attack, strength, familyAccuracy, outlierRecall, separation }) => [
      attack,
      String(strength),
      ...[familyAccuracy, outlierRecall, ...Object.values(separation).map((found) => found?.tpr)]
        .map((value) => value === null || value === undefined ? "-" : percent(value)),
    ]),
  );
}

function tables({ evaluation, robustness, methods }: Required<EvaluationResult>): string {
  const parts = [...verdictTables(evaluation), ...signalTables(evaluation)];
  if (methods.length > 0) {
    parts.push(
      textTable(
        ["method", ...methodColumns(methods).map(({ title }) => title), "half the outliers", "twice"],
        methodRows(methods),
      ),
    );
  }
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
  progress.note(journalNote(done.computed, job.journal));
  progress.note(done.files.join(", "));
  return done.unreadable.length > 0 ? 2 : 0;
}

if (import.meta.main) await runTask(command, main);
