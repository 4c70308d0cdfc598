/**
 * `deno task calibrate --train DIR --val DIR`: fits the thresholds of a model set and writes its calibration file.
 * Parses the command line, runs the job of attribution/calibration/calibrate.ts and shows what it fitted.
 */
import { type Calibration, strategies, type Strategy } from "../attribution/decision/calibration_file.ts";
import type { Fit } from "../attribution/calibration/thresholds.ts";
import type { ClassifiersFit } from "../attribution/calibration/classifiers.ts";
import { type CalibrationOptions, runCalibration } from "../attribution/calibration/calibrate.ts";
import { familyNames } from "../attribution/labels.ts";
import { quantizerNames } from "../attribution/quantisation/quantizers.ts";
import { type ScoreName, scoreNames, scoreTable } from "../attribution/signals/table.ts";
import { choice, number, parseOptions } from "./cli/args.ts";
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
import { textTable } from "./cli/table.ts";

const usage =
  `Fits what a set of weights decides by, and writes its calibration file: the thresholds that tell families and outliers
apart, and, with five images or more of every variant, the classifiers that tell variants apart.

usage: deno task calibrate --train DIR --val DIR [options]

  --train DIR, --val DIR  folders whose folders are labels (rarb ... var30, outlier); outliers are taken from val alone
  --models DIR        set of weights (default weights/official where it is complete, else weights/tiny)
  --out FILE          the calibration (default: the file that the manifest names)
  --report DIR        evidence.jsonl and summary.json of this run (default runs/calibrate)
${journalUsage}
  --threshold NAME    what shall decide: quantile, gaussian or roc (default: chosen by cross-fitting on val)
  --signal NAME       ${scoreNames.slice(0, 5).join(", ")},
                      ${scoreNames.slice(5).join(", ")};
                      for both families, or as rar=NAME,var=NAME (default: chosen by cross-fitting on val)
  --quantile Q        quantile: share of a family's own images that pass (default 0.99)
  --sigmas K          gaussian: standard deviations above the mean (default 3)
  --false-alarms P    roc: share of outliers that may pass (default 0.01)
  --signals LEVEL     core, or all, which costs half as much again (default all)
  --quantization NAME ${quantizerNames.join(", ")}: how VAR's tokens are found (default: search for
                      small tokenizers, else estimate)
  --thresholds-only   fit no classifiers, and run no transformers
  --condition NAME    none or infer: class under which tokens are scored for the classifiers (default infer)
  --extras LIST       fit these methods, too: membership, prada (slow)
  --prada-epochs N    steps of fitting each of PRADA's score functions (default 3000)
  --limit N           at most N images per label and folder
${measuringUsage}
  --json              the calibration and every way to decide that was tried as JSON, instead of tables
  --help              this text

Without outliers in val there are no roc thresholds, and nothing to choose by: gaussian thresholds on oneClass decide
(on QuantLoss with fewer than 20 images of a family).
Exit code: 0 done, 1 usage or fatal error, 2 done but some images could not be read, 130 interrupted.`;

/** Families to signals, from `quantLoss` or `rar=combined,var=quantLoss`. */
function signalChoice(text: string | undefined): NonNullable<CalibrationOptions["fit"]>["signals"] {
  if (text === undefined) return undefined;
  if (!text.includes("=")) {
    const name = choice<ScoreName>("--signal", text, scoreNames);
    return { rar: name, var: name };
  }
  return Object.fromEntries(
    text.split(",").map((part) => {
      const [family, name] = part.split("=");
      return [choice("--signal", family, familyNames), choice<ScoreName>(`--signal ${family}`, name, scoreNames)];
    }),
  );
}

function options(
  args: readonly string[],
): { job: Omit<CalibrationOptions, "signal"> & { readonly journal: string }; json: boolean } | "help" {
  const { values, positionals } = parseOptions(args, {
    ...measuringOptions,
    train: { type: "string" },
    val: { type: "string" },
    out: { type: "string" },
    threshold: { type: "string" },
    signal: { type: "string" },
    quantile: { type: "string", default: "0.99" },
    sigmas: { type: "string", default: "3" },
    "false-alarms": { type: "string", default: "0.01" },
    signals: { type: "string", default: "all" },
    "thresholds-only": { type: "boolean", default: false },
    condition: { type: "string", default: "infer" },
    extras: { type: "string" },
    "prada-epochs": { type: "string", default: "3000" },
    limit: { type: "string" },
    json: { type: "boolean", default: false },
    help: { type: "boolean", short: "h", default: false },
  });
  if (values.help) return "help";
  if (positionals.length > 0) {
    throw new Error(`expected options only, got ${positionals[0]}; folders go to --train and --val`);
  }
  const { train, val } = values;
  if (train === undefined || val === undefined) throw new Error("expected --train DIR and --val DIR (--help)");
  const measuring = measuringValues(values, "runs/calibrate");
  return {
    json: values.json,
    job: {
      ...measuring,
      train,
      val,
      out: values.out,
      signals: choice("--signals", values.signals, ["core", "all"]),
      thresholdsOnly: values["thresholds-only"],
      condition: choice("--condition", values.condition, ["none", "infer"]),
      extras: values.extras?.split(",").map((name) => choice("--extras", name, ["membership", "prada"])),
      pradaEpochs: number("--prada-epochs", values["prada-epochs"], { low: 1, integer: true }),
      limitPerLabel: values.limit === undefined
        ? undefined
        : number("--limit", values.limit, { low: 1, integer: true }),
      fit: {
        quantile: number("--quantile", values.quantile, { low: 0, high: 1 }),
        sigmas: number("--sigmas", values.sigmas, { low: -10, high: 100 }),
        falseAlarms: number("--false-alarms", values["false-alarms"], { low: 0, high: 1 }),
        threshold: values.threshold === undefined
          ? undefined
          : choice<Strategy>("--threshold", values.threshold, strategies),
        signals: signalChoice(values.signal),
      },
    },
  };
}

const percent = (share: number) => `${(100 * share).toFixed(1)} %`;
const rate = ({ count, of }: { count: number; of: number }) => of === 0 ? "-" : percent(count / of);

/** Per family, signal and strategy: the threshold, and what it costs. */
function costTable({ families, decision }: Calibration): string {
  const rows: string[][] = [];
  for (const family of familyNames) {
    for (const name of scoreNames) {
      const fit = families[family][name];
      if (fit === undefined) continue;
      for (const strategy of strategies) {
        const own = fit.thresholds[strategy];
        if (own === null) continue;
        const decides = decision.signals[family] === name && decision.threshold === strategy;
        const costs = own.crossFitted ?? own.onVal;
        rows.push([
          family,
          scoreTable[name].title,
          strategy,
          String(Number(own.threshold.toPrecision(4))),
          ...costs ? [costs.misses, costs.falseAlarms, costs.otherFamily].map(rate) : ["-", "-", "-"],
          own.crossFitted ? "" : "in sample",
          decides ? "decides" : "",
        ]);
      }
    }
  }
  return textTable(
    ["family", "signal", "strategy", "threshold", "missed", "outliers in", "other family in", "", ""],
    rows,
  );
}

function decisionTable({ candidates }: Fit): string {
  const rows = candidates.slice(0, 10).map(({ signals, threshold, matrix, balanced }) => [
    signals.rar,
    signals.var,
    threshold,
    percent(balanced),
    ...matrix.counts.map((row, i) => rate({ count: row[i], of: row.reduce((a, b) => a + b, 0) })),
  ]);
  return textTable(["rar by", "var by", "strategy", "mean recall", "rar", "var", "outlier"], rows);
}

function variantTable({ rates, columns }: ClassifiersFit): string {
  const rows = Object.entries(rates).map(([method, share]) => [
    method,
    ...familyNames.map((name) => percent(share[name])),
    method === "two-stage" ? `columns: rar ${columns.rar.chosen}, var ${columns.var.chosen}` : "",
  ]);
  return textTable(["method", ...familyNames, ""], rows);
}

async function main(args: readonly string[]): Promise<number> {
  const parsed = options(args);
  if (parsed === "help") {
    writeStdout(usage + "\n");
    return 0;
  }
  const { job, json } = parsed;
  const progress = new Progress();
  const result = await runCalibration({ ...job, signal: interruptible("calibrate", progress) }, {
    onNote: (text) => progress.note(`calibrate: ${text}`),
    onPrepare: (text) => progress.prepare(text),
    onStart: (total) => progress.start(total),
    onProgress: (images) => progress.update(images),
    onLine: (line) => {
      if ("error" in line) progress.note(`calibrate: unreadable, left out: ${line.image}: ${line.error.message}`);
    },
  });
  progress.clear();
  if (result.status === "interrupted") {
    progress.note(`calibrate: ${interruptedNote(job.journal)}`);
    return 130;
  }
  const { calibration, fit, path } = result as Required<Omit<typeof result, "classifiers">>;
  const { signals, threshold } = calibration.decision;
  if (json) writeStdout(JSON.stringify({ path, calibration, candidates: fit.candidates }) + "\n");
  else {
    writeStdout(
      "What thresholds cost on val (cross-fitted: each image is judged by thresholds that were fitted without it):\n\n" +
        costTable(calibration) + "\n",
    );
    if (fit.candidates.length > 0) {
      writeStdout("The best ways to decide, cross-fitted on val:\n\n" + decisionTable(fit) + "\n");
    }
    if (result.classifiers !== undefined) {
      writeStdout(
        "Variants that are found, given the family (cross-validated on train and val):\n\n" +
          variantTable(result.classifiers) + "\n",
      );
    }
  }
  if (fit.candidates.length === 0 && job.fit?.threshold === undefined) {
    progress.note(
      "calibrate: val has no outliers: no roc thresholds, and nothing to choose a strategy by; gaussian decides",
    );
  }
  progress.note(`calibrate: ${journalNote(result.computed, job.journal)}`);
  progress.note(
    `calibrate: ${path}: ${threshold} thresholds on ${signals.rar} for rar and ${signals.var} for var decide` +
      (result.unreadable.length > 0 ? `; ${result.unreadable.length} images could not be read` : ""),
  );
  return result.unreadable.length > 0 ? 2 : 0;
}

if (import.meta.main) {
  try {
    Deno.exit(await main(Deno.args));
  } catch (error) {
    fail("calibrate", error);
  }
}
