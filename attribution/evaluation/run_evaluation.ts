/**
 * Evaluates a model set on labelled images: verdicts, on request those on processed copies, a comparison of methods and
 * baselines, then the report. One journal keeps all measurements.
 */
import { join } from "node:path";
import { loadCalibration, rulesOf } from "../decision/calibration_file.ts";
import { methodOf } from "../decision/methods.ts";
import { chooseModels } from "../run/choose_models.ts";
import { type Labels, labelsOf, outlierLabel } from "../labels.ts";
import { type LabelledImage, limitPerLabel, listLabelled } from "../images/labelled.ts";
import { journalIn, makeReportFolder } from "../run/report.ts";
import { aboutEvaluation, describeLimits } from "./about.ts";
import { evaluate, type Judged } from "./evaluate.ts";
import type { JudgedVerdict } from "./judged.ts";
import { limitsMarkdown } from "./limits.ts";
import { expectLimitsMarks, writeLimits } from "./limits_document.ts";
import { processedCopies, type ProcessingResult, processingResults, untouched } from "./processing.ts";
import { type EvaluationReport, writeEvaluation } from "./report.ts";
import { lightChanges, type Stability, stabilityOf } from "./stability.ts";
import {
  addBaselines,
  attackImages,
  compareOn,
  type Context,
  copyLooks,
  type EvaluationEvents,
  type EvaluationOptions,
  Interrupted,
  judgeCopies,
  judgeImages,
  readableImages,
} from "./stages.ts";
import { type FileLook, zeroPixels } from "./zero_pixels.ts";

export type { EvaluationEvents, EvaluationOptions } from "./stages.ts";

/** The result; all but `status` and `unreadable` are set when it is done. */
export interface EvaluationResult extends Partial<EvaluationReport> {
  readonly status: "done" | "interrupted";
  readonly unreadable: readonly { readonly image: string; readonly message: string }[];
  /** Images, processed ones included, for which a network had to run; the others were in the journal. */
  readonly computed?: number;
  /** Paths of the files that were written. */
  readonly files?: readonly string[];
}

/** Evaluates a model set. Throws before any network runs on wrong folders, tables, weights and outputs. */
export async function runEvaluation(
  options: EvaluationOptions,
  events: EvaluationEvents = {},
): Promise<EvaluationResult> {
  const { report } = options;
  const set = await chooseModels(options.models, events);
  const labels = labelsOf(set);
  const images = await labelledImages(options, labels, events);
  if (options.limits !== undefined) await expectLimitsMarks(options.limits);
  const { calibration, sha256 } = await loadCalibration(set);
  const rules = rulesOf(calibration, labels, options.rules);
  const quantization = options.quantization ?? calibration.quantization;
  await makeReportFolder(report);
  const journal = options.journal ?? journalIn(report);
  const context: Context = {
    ...{ options, events, set, calibration, rules, images, computed: 0, unreadable: [] },
    shared: { ...options, models: set.path, quantization, journal },
  };
  try {
    return await runStages(context, sha256);
  } catch (error) {
    if (error instanceof Interrupted) return { status: "interrupted", unreadable: context.unreadable };
    throw error;
  }
}

async function runStages(context: Context, calibrationHash: string | null): Promise<EvaluationResult> {
  const { options, events, calibration, rules, unreadable } = context;
  const { report, seed = 0, resamples = 1000 } = options;
  const stage = async <T>(name: string, isWanted: unknown, run: () => Promise<T>): Promise<T | undefined> => {
    if (!isWanted) return undefined;
    events.onStage?.(name);
    return await run();
  };
  const { judged, files: looks, fingerprint, summary } = (await stage("verdicts", true, () => judgeImages(context)))!;
  const processings = (await stage("processing", true, () => processImages(judged, looks, context)))!;
  const stability = await stage("stability", options.stability, () => changeImages(judged, context));
  const methods = await stage("methods", options.compare, () => compareOn(judged, context)) ?? [];
  const robustness = await stage("robustness", options.robustness, () => attackImages(context)) ?? [];
  const measured = await stage("baselines", options.baselines, () => addBaselines(judged, context)) ?? judged;
  events.onStage?.("report");
  const evaluation = evaluate(measured, {
    ...{ calibration, rules },
    threshold: options.rules?.threshold ?? calibration.decision.threshold,
    byThresholds: methodOf(summary.method).byThresholds ?? false,
    bootstrap: { seed, resamples },
  });
  const baseline = zeroPixels(looks, rules.labels);
  const isFitted = calibration.data?.val.fingerprint === fingerprint;
  const result: EvaluationReport = {
    about: aboutEvaluation(context, { summary, calibrationHash, fingerprint }),
    ...{ evaluation, processings, zeroPixels: baseline, strangers: options.strangers, stability, methods, robustness },
    unreadable,
    notes: describeLimits(evaluation, { isFitted, zeroPixels: baseline }),
  };
  const files = await writeEvaluation(report, result, { judged: measured, calibration, rules });
  if (options.limits !== undefined) {
    await writeLimits(options.limits, limitsMarkdown(processings, result));
    files.push(options.limits);
  }
  return {
    status: "done",
    computed: context.computed,
    ...result,
    files: [...files, join(report, "predictions.csv")],
  };
}

/** The figures of the images as they are stored, and after each processing that the options name. */
async function processImages(
  judged: readonly Judged[],
  files: readonly FileLook[],
  context: Context,
): Promise<ProcessingResult[]> {
  const { options, rules: { labels } } = context;
  const { processing = [], strangers, seed = 0, resamples = 1000 } = options;
  const edited = processing.filter(({ edits }) => edits.length > 0);
  const copies = processedCopies(readableImages(context), edited);
  const verdicts = new Map<string, readonly JudgedVerdict[]>([[untouched.name, judged]]);
  const looks = new Map<string, readonly FileLook[]>([[untouched.name, files]]);
  if (copies.length > 0) {
    for (const [name, items] of await judgeCopies(copies, "processing", context)) verdicts.set(name, items);
    for (const [name, items] of await copyLooks(copies, context)) looks.set(name, items);
  }
  const bootstrap = { seed, resamples };
  return processingResults([untouched, ...edited], verdicts, { labels, bootstrap, strangers, looks });
}

/** Whether verdicts hold after light changes. */
async function changeImages(judged: readonly Judged[], context: Context): Promise<Stability> {
  const changes = lightChanges(context.options.stability ?? 0);
  const verdicts = await judgeCopies(processedCopies(readableImages(context), changes), "stability", context);
  return stabilityOf(judged, verdicts);
}

/** Throws for a name that is no source of outliers. */
function expectSources(names: readonly string[], images: readonly LabelledImage[]): void {
  const sources = new Set(images.filter(({ label }) => label === outlierLabel).map(({ source }) => source));
  const unknown = names.filter((name) => !sources.has(name));
  if (unknown.length === 0) return;
  throw new Error(`--strangers: expected sources of outliers (${[...sources].join(", ")}), got ${unknown.join(", ")}`);
}

async function labelledImages(
  { val, labels: table, limitPerLabel: limit, strangers = [] }: EvaluationOptions,
  labels: Labels,
  events: EvaluationEvents,
): Promise<LabelledImage[]> {
  const { images, unlabelled } = await listLabelled("--val", val, table, labels);
  if (unlabelled > 0) events.onNote?.(`${unlabelled} images of ${val} have no row in ${table}: left out`);
  expectSources(strangers, images);
  return limit === undefined ? images : limitPerLabel(images, limit);
}
