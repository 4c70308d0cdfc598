/**
 * `deno task calibrate --train DIR --val DIR`: fits the thresholds of a model set and writes its calibration file.
 * Runs the job of attribution/calibration/calibrate.ts and shows what it fitted.
 */
import { type Calibration, strategies } from "../attribution/decision/calibration_file.ts";
import type { Fit } from "../attribution/calibration/thresholds.ts";
import type { ClassifiersFit } from "../attribution/calibration/classifiers.ts";
import { type CalibrationResult, runCalibration } from "../attribution/calibration/calibrate.ts";
import { familyNames } from "../models/registry.ts";
import { type ScoreName, scoreNames, scoreTable } from "../attribution/signals/table.ts";
import { printable } from "../util/names.ts";
import { anyText, choice, listOf, real, type ValueType, whole } from "../util/options.ts";
import { defineCommand, type Input, runTask } from "./cli/command.ts";
import { folderOr } from "./cli/dataset.ts";
import { interruptible } from "./cli/interrupt.ts";
import { interruptedNote, journalNote, percent } from "./cli/notes.ts";
import { condition, extras, jsonLines, limit, measuringOptions, report, signals, withJournal } from "./cli/options.ts";
import { textTable } from "./cli/table.ts";

/** Families to signals, from `quantLoss` or `rar=combined,var=quantLoss`. */
const signalChoice: ValueType<Readonly<Record<string, ScoreName>>> = {
  words: scoreNames,
  isList: true,
  parse(text) {
    const name = choice(scoreNames), family = choice(familyNames);
    if (!text.includes("=")) return Object.fromEntries(familyNames.map((family) => [family, name.parse(text)]));
    return Object.fromEntries(
      text.split(",").map((part) => {
        const [left, right = ""] = part.split("=");
        try {
          return [family.parse(left), name.parse(right)];
        } catch (error) {
          throw new Error(`${left}: ${(error as Error).message}`, { cause: error });
        }
      }),
    );
  },
};

export const command = defineCommand({
  name: "calibrate",
  about: "Fits what a model set decides by, and writes its calibration file: the thresholds that tell families and " +
    "outliers apart, and, with five images or more of every variant, the classifiers that tell variants apart.",
  usage: ["[--train DIR] [--val DIR] [options]"],
  options: {
    train: {
      value: "DIRS",
      type: listOf(anyText),
      help: "folder whose folders are labels (rarb ... var30), or several, with commas between them",
      unset: "Dataset/train in the working folder",
    },
    val: {
      value: "DIRS",
      type: listOf(anyText),
      help: "the same with outlier, from which alone outliers are taken",
      unset: "Dataset/val in the working folder",
    },
    out: { value: "FILE", help: "the calibration", unset: "the file that the manifest names, which is replaced" },
    force: { help: "replace a file at --out" },
    report: { ...report, default: "runs/calibrate" },
    threshold: {
      value: "NAME",
      type: choice(strategies),
      help: "which thresholds decide",
      unset: "chosen by cross-fitting on val",
    },
    signal: {
      value: "NAME",
      type: signalChoice,
      help: "what thresholds are on, for all families or as rar=NAME,var=NAME",
      unset: "chosen by cross-fitting on val",
    },
    quantile: {
      value: "Q",
      type: real(0, 1),
      default: "0.99",
      help: "for quantile thresholds: share of a family's images that pass",
    },
    sigmas: {
      value: "K",
      type: real(-10, 100),
      default: "3",
      help: "for gaussian thresholds: standard deviations above the mean",
    },
    falseAlarms: {
      value: "P",
      type: real(0, 1),
      default: "0.01",
      help: "for roc thresholds: share of outliers that may pass",
    },
    signals,
    ...measuringOptions,
    quantization: {
      ...measuringOptions.quantization,
      help: "how VAR's tokens are found",
      unset: "search for small tokenizers, else estimate",
    },
    thresholdsOnly: { help: "fit no classifiers, and run no transformers" },
    copies: {
      value: "N",
      type: whole(0),
      default: "2",
      help: "processed copies of every image that classifiers are fitted to, so that they know processed images",
    },
    condition,
    likelihoods: {
      value: "NAME",
      type: choice(["all", "open"] as const),
      help: "which likelihoods classifiers are fitted to: all of every image, or those of families that its signals " +
        "leave open",
      unset: "all for small tokenizers, else open",
    },
    budget: {
      value: "TFLOP",
      type: real(0),
      help:
        "most that the transformers may take for an image of one family: fewer classes are compared and kept, then " +
        "and in every run that decides by this calibration",
      unset: "30, or the least that is possible",
    },
    extras: { ...extras, help: "fit these methods, too; prada is slow" },
    pradaEpochs: { value: "N", type: whole(1), default: "3000", help: "steps in which each PRADA function is fitted" },
    limit: { ...limit, help: "at most N images per label and folder" },
    json: jsonLines("one with the calibration and every rule that was tried"),
  },
  notes:
    "Without outliers in val there are no roc thresholds, and nothing to choose by: gaussian thresholds on oneClass " +
    "decide (on QuantLoss with fewer than 20 images of a family).",
  exitCodes: { 2: "done but some images could not be read", 130: "interrupted" },
});

const rate = ({ count, of }: { count: number; of: number }) => of === 0 ? "-" : percent(count / of);

/** Per family, signal and strategy: the threshold, and what it costs. */
function costTable({ families, decision }: Calibration): string {
  const rows: string[][] = [];
  for (const family of Object.keys(families)) {
    for (const name of scoreNames) {
      const fit = families[family][name];
      if (fit === undefined) continue;
      for (const strategy of strategies) {
        const fitted = fit.thresholds[strategy];
        if (fitted === null) continue;
        const decides = decision.signals[family] === name && decision.threshold === strategy;
        const costs = fitted.crossFitted ?? fitted.onVal;
        rows.push([
          family,
          scoreTable[name].title,
          strategy,
          String(Number(fitted.threshold.toPrecision(4))),
          ...costs ? [costs.misses, costs.falseAlarms, costs.otherFamily].map(rate) : ["-", "-", "-"],
          fitted.crossFitted ? "" : "in sample",
          decides ? "decides" : "",
        ]);
      }
    }
  }
  return textTable(
    ["family", "signal", "strategy", "threshold", "missed", "outliers in", "other families in", "", ""],
    rows,
  );
}

function decisionTable({ candidates }: Fit): string {
  const rows = candidates.slice(0, 10).map(({ signals, threshold, matrix, balanced }) => [
    ...Object.values(signals),
    threshold,
    percent(balanced),
    ...matrix.counts.map((row, i) => rate({ count: row[i], of: row.reduce((a, b) => a + b, 0) })),
  ]);
  const families = Object.keys(candidates[0]?.signals ?? {});
  return textTable(
    [...families.map((family) => `${family} by`), "strategy", "mean recall", ...families, "outlier"],
    rows,
  );
}

function variantTable({ rates, columns }: ClassifiersFit): string {
  const rows = Object.entries(rates).map(([method, share]) => [
    method,
    ...Object.values(share).map(percent),
    method === "two-stage"
      ? `columns: ${Object.entries(columns).map(([family, { chosen }]) => `${family} ${chosen}`).join(", ")}`
      : "",
  ]);
  return textTable(["method", ...Object.keys(columns), ""], rows);
}

function tables({ calibration, fit, classifiers }: CalibrationDone): string {
  const parts = [
    "What thresholds cost on val (cross-fitted: each image is judged by thresholds that were fitted without it):\n\n" +
    costTable(calibration),
  ];
  if (fit.candidates.length > 0) parts.push("The best ways to decide, cross-fitted on val:\n\n" + decisionTable(fit));
  if (classifiers !== undefined) {
    parts.push(
      "Variants that are found, given the family (cross-validated on train and val):\n\n" + variantTable(classifiers),
    );
  }
  return parts.map((part) => part + "\n").join("");
}

type CalibrationDone = CalibrationResult & Required<Pick<CalibrationResult, "calibration" | "fit" | "path">>;

async function main({ values, progress }: Input<typeof command.options>): Promise<number> {
  const { json, limit, budget, quantile, sigmas, falseAlarms, threshold, signal, ...job } = withJournal(values);
  const train = await folderOr(job.train, "train", progress), val = await folderOr(job.val, "val", progress);
  if (train === undefined || val === undefined) throw new Error("expected --train DIR and --val DIR (--help)");
  const result = await runCalibration({
    ...{ ...job, train, val },
    limitPerLabel: limit,
    budget: budget === undefined ? undefined : 1e12 * budget,
    fit: { quantile, sigmas, falseAlarms, threshold, signals: signal },
    signal: interruptible(progress),
  }, {
    ...progress.events,
    onLine: (line) => {
      if ("error" in line) progress.note(`unreadable, left out: ${printable(line.image)}: ${line.error.message}`);
    },
  });
  if (result.status === "interrupted") {
    progress.note(interruptedNote(job.journal));
    return 130;
  }
  const done = result as CalibrationDone;
  const { calibration, fit, path, unreadable } = done;
  progress.print(json ? JSON.stringify({ path, calibration, candidates: fit.candidates }) + "\n" : tables(done));
  if (fit.candidates.length === 0 && threshold === undefined) {
    progress.note("val has no outliers: no roc thresholds, and nothing to choose a strategy by; gaussian decides");
  }
  progress.note(journalNote(done.computed, job.journal));
  const signals = Object.entries(calibration.decision.signals).map(([family, signal]) => `${signal} for ${family}`);
  progress.note(
    `${path}: ${calibration.decision.threshold} thresholds on ${signals.join(" and ")} decide` +
      (unreadable.length > 0 ? `; ${unreadable.length} images could not be read` : ""),
  );
  return unreadable.length > 0 ? 2 : 0;
}

if (import.meta.main) await runTask(command, main);
