/**
 * `deno task evaluate --val DIR`: how often verdicts are right, how well signals separate, what processing does to them.
 * Parses the command line, runs the job of attribution/evaluation/ and shows its main numbers.
 */
import { type TransformName, transformNames } from "../attribution/images/augment/mod.ts";
import { strategies, type Strategy } from "../attribution/decision/calibration_file.ts";
import { type Estimate, everythingElse } from "../attribution/evaluation/evaluate.ts";
import {
  type EvaluationOptions,
  type EvaluationResult,
  runEvaluation,
} from "../attribution/evaluation/run_evaluation.ts";
import { methodTitles } from "../attribution/evaluation/methods.ts";
import { methodRows } from "../attribution/evaluation/report.ts";
import { isUnreadable } from "../attribution/evidence/evidence.ts";
import { quantizerNames } from "../attribution/quantisation/quantizers.ts";
import { type MethodName, methods } from "../attribution/decision/methods.ts";
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
  methodUsage,
} from "./cli/measuring.ts";
import { Progress, writeStdout } from "./cli/progress.ts";
import { textTable } from "./cli/table.ts";

const usage = `Evaluates verdicts and signals on images whose labels are known, and writes a report.

usage: deno task evaluate --val DIR [options]

  --val DIR           a folder whose folders are labels (rarb ... var30, outlier; folders below outlier are sources of their
                      own), or any folder with --labels
  --labels FILE       CSV with the columns image_name and label, and source where outliers have several
  --models DIR        set of weights (default weights/official where it is complete, else weights/tiny)
  --report DIR        report.html, evaluation.json, tables as CSV, and the evidence (default runs/evaluate)
${journalUsage}
  --robustness        also on processed images: ${transformNames.join(", ")},
                      each at all strengths of the reference
  --attacks LIST      only these, such as jpeg,resize
  --baselines         also AEDR, Reconstruction and LatentTracer (slow), with the encoders that the tokenizers came with
  --compare           also all methods beside one another: runs all variants over all images
  --method NAME       how to decide (default joint where the calibration has its classifiers, else perplexity):
${methodUsage(methods)}
  --outlier-prior P   share of outliers that joint expects (default 0.2)
  --threshold NAME    quantile, gaussian or roc: which of the calibration's thresholds decide (default: its own choice)
  --quantization NAME ${quantizerNames.join(", ")}: how VAR's tokens are found (default: as the set was calibrated)
  --limit N           at most N images per label
  --seed N            of intervals and of what transforms draw (default 0)
  --resamples N       bootstrap samples (default 1000)
${measuringUsage}
  --json              the whole evaluation as JSON, instead of tables
  --help              this text

Exit code: 0 done, 1 usage or fatal error, 2 done but some images could not be read (they are left out), 130 interrupted.`;

function options(
  args: readonly string[],
): { job: EvaluationOptions & { readonly journal: string }; json: boolean } | "help" {
  const { values, positionals } = parseOptions(args, {
    ...measuringOptions,
    val: { type: "string" },
    labels: { type: "string" },
    robustness: { type: "boolean", default: false },
    attacks: { type: "string" },
    baselines: { type: "boolean", default: false },
    compare: { type: "boolean", default: false },
    "outlier-prior": { type: "string" },
    method: { type: "string" },
    threshold: { type: "string" },
    limit: { type: "string" },
    seed: { type: "string", default: "0" },
    resamples: { type: "string", default: "1000" },
    json: { type: "boolean", default: false },
    help: { type: "boolean", short: "h", default: false },
  });
  if (values.help) return "help";
  if (positionals.length > 0) throw new Error(`expected options only, got ${positionals[0]}; the folder goes to --val`);
  if (values.val === undefined) throw new Error("expected --val DIR (--help)");
  const attacks = values.attacks?.split(",").map((name) => choice<TransformName>("--attacks", name, transformNames));
  return {
    json: values.json,
    job: {
      ...measuringValues(values, "runs/evaluate"),
      val: values.val,
      labels: values.labels,
      robustness: attacks ?? values.robustness,
      baselines: values.baselines,
      compare: values.compare,
      method: values.method === undefined
        ? undefined
        : choice<MethodName>("--method", values.method, Object.keys(methods)),
      rules: {
        outlierPrior: values["outlier-prior"] === undefined
          ? undefined
          : number("--outlier-prior", values["outlier-prior"], { low: 0, high: 1 }),
        threshold: values.threshold === undefined
          ? undefined
          : choice<Strategy>("--threshold", values.threshold, strategies),
      },
      limitPerLabel: values.limit === undefined
        ? undefined
        : number("--limit", values.limit, { low: 1, integer: true }),
      seed: number("--seed", values.seed, { low: 0, high: Number.MAX_SAFE_INTEGER, integer: true }),
      resamples: number("--resamples", values.resamples, { low: 1, high: 1_000_000, integer: true }),
    },
  };
}

const percent = (value: number) => `${(100 * value).toFixed(1)} %`;

function estimate({ value, interval }: Estimate): string[] {
  if (value === null) return ["-", "-"];
  return [percent(value), interval === null ? "-" : `${(100 * interval.low).toFixed(1)} to ${percent(interval.high)}`];
}

function tables({ evaluation, robustness, methods }: Required<EvaluationResult>): string {
  const rates = {
    "accuracy, nine labels": evaluation.accuracy,
    "family accuracy": evaluation.familyAccuracy,
    "variant, given the family": evaluation.variantAccuracy,
    "outlier recall": evaluation.outlierRecall,
    "outlier precision": evaluation.outlierPrecision,
  };
  const shown = evaluation.confusion.labels.map((_, i) => i).filter((i) =>
    evaluation.confusion.counts.some((row, j) => row[i] > 0 || (i === j && row.some((n) => n > 0)))
  );
  const separations = evaluation.signals.flatMap(({ family, title, decides, separations }) =>
    separations.filter(({ nonmembers }) => [everythingElse, "outlier"].includes(nonmembers))
      .map(({ nonmembers, auc, tpr }) => [
        family,
        title,
        nonmembers,
        auc.value?.toFixed(4) ?? "-",
        ...estimate(tpr),
        decides ? "decides" : "",
      ])
  );
  const parts = [
    textTable(
      [`${evaluation.images} images`, "", "95 %"],
      Object.entries(rates).map(([name, e]) => [name, ...estimate(e)]),
    ),
    textTable(
      ["true label \\ said", ...shown.map((i) => evaluation.confusion.labels[i])],
      shown.map((i) => [
        evaluation.confusion.labels[i],
        ...shown.map((j) => String(evaluation.confusion.counts[i][j])),
      ]),
    ),
    textTable(
      ["strategy", "family accuracy", "95 %", "outlier recall", "95 %", "outlier precision", "95 %", ""],
      evaluation.strategies.map(({ threshold, decides, familyAccuracy, outlierRecall, outlierPrecision }) => [
        threshold,
        ...[familyAccuracy, outlierRecall, outlierPrecision].flatMap(estimate),
        decides ? "decides" : "",
      ]),
    ),
    textTable(["family", "signal", "against", "AUC", "TPR at 1 % FPR", "95 %", ""], separations),
  ];
  if (methods.length > 0) {
    parts.push(
      textTable(["method", ...Object.values(methodTitles), "half the outliers", "twice"], methodRows(methods)),
    );
  }
  if (robustness.length > 0) {
    parts.push(textTable(
      ["attack", "strength", "family accuracy", "outlier recall", "rar TPR at 1 % FPR", "var TPR at 1 % FPR"],
      robustness.map(({ attack, strength, familyAccuracy, outlierRecall, separation }) => [
        attack,
        String(strength),
        ...[familyAccuracy, outlierRecall, separation.rar?.tpr, separation.var?.tpr]
          .map((value) => value === null || value === undefined ? "-" : percent(value)),
      ]),
    ));
  }
  return parts.join("\n");
}

async function main(args: readonly string[]): Promise<number> {
  const parsed = options(args);
  if (parsed === "help") {
    writeStdout(usage + "\n");
    return 0;
  }
  const { job, json } = parsed;
  const progress = new Progress();
  let stage = "";
  const result = await runEvaluation({ ...job, signal: interruptible("evaluate", progress) }, {
    onNote: (text) => progress.note(`evaluate: ${text}`),
    onPrepare: (text) => progress.prepare(text),
    onStage: (name) => stage = name,
    onStart: (total) => {
      progress.note(`evaluate: ${stage}: ${total} images`);
      progress.start(total);
    },
    onProgress: (images) => progress.update(images),
    onLine: (line) => {
      if (isUnreadable(line)) progress.note(`evaluate: unreadable, left out: ${line.image}: ${line.error.message}`);
    },
  });
  progress.clear();
  if (result.status === "interrupted") {
    progress.note(`evaluate: ${interruptedNote(job.journal)}`);
    return 130;
  }
  const done = result as Required<EvaluationResult>;
  writeStdout(json ? JSON.stringify(done) + "\n" : tables(done));
  progress.note(`evaluate: ${journalNote(done.computed, job.journal)}`);
  progress.note(`evaluate: ${done.files.join(", ")}`);
  return done.unreadable.length > 0 ? 2 : 0;
}

if (import.meta.main) {
  try {
    Deno.exit(await main(Deno.args));
  } catch (error) {
    fail("evaluate", error);
  }
}
