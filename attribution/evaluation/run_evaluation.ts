/**
 * Evaluation of a model set on labelled images: verdicts as `attribute` gives them, then robustness and baselines where
 * they are asked for, then the report. All that is measured is kept in one journal.
 */
import { join } from "node:path";
import type { TransformName } from "../images/augment/mod.ts";
import { levelOf, loadCalibration, type Rules, rulesOf } from "../decision/calibration_file.ts";
import { dataFingerprint } from "../calibration/calibrate.ts";
import { isUnreadable, type MeasuredLine } from "../evidence/evidence.ts";
import { attributeFiles, type AttributeFilesOptions } from "../run/attribute.ts";
import { chooseModels } from "../run/choose_models.ts";
import { type Label, type Labels, labelsOf } from "../labels.ts";
import { familyNamed } from "../../models/registry.ts";
import { scoreTable } from "../signals/table.ts";
import { evaluate, type Evaluation, type Judged } from "./evaluate.ts";
import { type LabelledImage, limitPerLabel, listLabelFolders, listWithTable } from "../images/labelled.ts";
import { extrasFor } from "../decision/extras.ts";
import { gatherLines, measureImages, type MeasuringEvents } from "../run/measure_images.ts";
import { journalIn, makeReportFolder } from "../run/report.ts";
import { compareMethods, extrasOf, knownMethods, type MethodResult } from "./methods.ts";
import { writeEvaluation } from "./report.ts";
import { attackedImages, type RobustnessPoint, robustnessPoint } from "./robustness.ts";

export interface EvaluationOptions extends Omit<AttributeFilesOptions, "inputs" | "out" | "report" | "limit"> {
  /** Label folders, or any folder with a table. */
  readonly val: string;
  /** CSV with image_name and label. */
  readonly labels?: string;
  /** Folder for the report, and for the journal unless it is elsewhere. */
  readonly report: string;
  readonly limitPerLabel?: number;
  /** Evaluate on processed images, too: all attacks, or these. */
  readonly robustness?: boolean | readonly TransformName[];
  /** Evaluate AEDR, Reconstruction and LatentTracer, too. */
  readonly baselines?: boolean;
  /** Compare all methods that the calibration has what they need for. Runs all variants over all images. */
  readonly compare?: boolean;
  /** Of bootstrap intervals and of transforms. Default 0. */
  readonly seed?: number;
  readonly resamples?: number;
}

export interface EvaluationEvents extends MeasuringEvents {
  /** The next part begins: `verdicts`, `methods`, `robustness`, `baselines`, `report`. */
  readonly onStage?: (name: string) => void;
}

export interface EvaluationResult {
  readonly status: "done" | "interrupted";
  readonly unreadable: readonly { readonly image: string; readonly message: string }[];
  // Set when it is done.
  /** Images, processed ones included, for which a network had to run; the others were in the journal. */
  readonly computed?: number;
  readonly evaluation?: Evaluation;
  readonly robustness?: readonly RobustnessPoint[];
  readonly methods?: readonly MethodResult[];
  readonly files?: readonly string[];
}

/** Runs the job. Throws before any work on wrong folders, tables, weights and outputs. */
export async function runEvaluation(
  options: EvaluationOptions,
  events: EvaluationEvents = {},
): Promise<EvaluationResult> {
  const { report, seed = 0, resamples = 1000 } = options;
  const set = await chooseModels(options.models, events);
  const labels = labelsOf(set);
  const images = await labelledImages(options, labels, events);
  const { calibration, sha256: calibrationHash } = await loadCalibration(set);
  const rules = rulesOf(calibration, labels, options.rules);
  const quantization = options.quantization ?? calibration.quantization;
  await makeReportFolder(report);
  const shared = { ...options, models: set.dir, quantization, journal: options.journal ?? journalIn(report) };
  let computed = 0;
  const unreadable: { image: string; message: string }[] = [];
  const interrupted: EvaluationResult = { status: "interrupted", unreadable };

  events.onStage?.("verdicts");
  const byName = new Map(images.map((image) => [image.imageName, image]));
  const judged: Judged[] = [];
  const contents: { label: Label; sha256: string }[] = [];
  const summary = await attributeFiles({
    ...shared,
    inputs: images,
    out: join(report, "predictions.csv"),
    report,
    signals: options.signals ?? "all",
  }, {
    ...events,
    onLine: (line) => {
      events.onLine?.(line, contents.length + unreadable.length);
      if (isUnreadable(line)) unreadable.push({ image: line.image, message: line.error.message });
      else {
        const { label, source } = byName.get(line.image)!;
        const { image, confidence, families } = line;
        contents.push({ label, sha256: line.sha256 });
        judged.push({ image, label, source, verdict: line.label, confidence, families });
      }
    },
  });
  if (summary.status !== "done") return interrupted;
  computed += summary.images.computed;
  if (judged.length === 0) {
    throw new Error(`--val ${options.val}: none of ${images.length} images can be read: ${unreadable[0].message}`);
  }

  let methods: MethodResult[] = [];
  if (options.compare) {
    events.onStage?.("methods");
    const readable = judged.map(({ image }) => byName.get(image)!);
    const names = knownMethods(rules);
    const { summary, lines } = await gatherLines(set, readable, {
      ...shared,
      signals: "core",
      scoring: {
        condition: rules.classifiers?.condition ?? "infer",
        inference: rules.classifiers?.inference,
        extras: extrasFor(extrasOf(names), rules.classifiers),
      },
      report: join(report, "methods"),
    }, events);
    if (summary.status !== "done") return interrupted;
    computed += summary.images.computed;
    const measured = lines.flatMap((line, i) => line === undefined ? [] : [{ label: readable[i].label, line }]);
    methods = compareMethods(measured, rules, names, { seed, resamples });
  }

  let points: RobustnessPoint[] = [];
  const level = levelOf(rules);
  if (options.robustness) {
    events.onStage?.("robustness");
    const readable = images.filter(({ imageName }) => !unreadable.some(({ image }) => image === imageName));
    const attacked = attackedImages(readable, seed, options.robustness === true ? undefined : options.robustness);
    // One strength at a time is kept in memory.
    let current: { label: Label; families: MeasuredLine["families"] }[] = [];
    const summary = await measureImages(set, attacked, {
      ...shared,
      signals: level,
      report: join(report, "robustness"),
    }, {
      ...events,
      onLine: (line, index) => {
        const { label, augmentation: { name, strength } } = attacked[index];
        if (!isUnreadable(line)) current.push({ label, families: line.families });
        const next = attacked[index + 1]?.augmentation;
        if (next?.name === name && next.strength === strength) return;
        points.push(robustnessPoint(name, strength, current, rules));
        current = [];
      },
    });
    if (summary.status !== "done") return interrupted;
    computed += summary.images.computed;
    points = points.filter(({ images }) => images > 0);
  }

  if (options.baselines) {
    events.onStage?.("baselines");
    const readable = judged.map(({ image }) => byName.get(image)!);
    const { summary, lines } = await gatherLines(set, readable, {
      ...shared,
      signals: "baselines",
      report: join(report, "baselines"),
    }, events);
    if (summary.status !== "done") return interrupted;
    computed += summary.images.computed;
    judged.forEach((item, i) => judged[i] = { ...item, baselines: lines[i]?.families });
  }

  events.onStage?.("report");
  const threshold = options.rules?.threshold ?? calibration.decision.threshold;
  const evaluation = evaluate(judged, { calibration, rules, threshold, bootstrap: { seed, resamples } });
  const fingerprint = await dataFingerprint(contents);
  const about = {
    images: `${options.val}${options.labels === undefined ? "" : ` with ${options.labels}`}, ${images.length} images`,
    fingerprint,
    "model set": `${summary.modelSet.name} ${summary.modelSet.hash}`,
    calibration: calibrationHash ?? "none",
    "fitted on": calibration.data === null
      ? "nothing, set by hand"
      : `train ${calibration.data.train.fingerprint.slice(0, 12)}, val ${
        calibration.data.val.fingerprint.slice(0, 12)
      }`,
    decides: `${threshold ?? "no"} thresholds on ${describeRules(rules)}; variants by ${summary.method}`,
    quantisation: quantization,
    device: `${summary.settings.device}, ${summary.device}`,
    weights: summary.settings.weightType,
    seed: String(seed),
    intervals: `95 %, ${resamples} bootstrap samples`,
  };
  const notes = describeLimits(evaluation, calibration.data?.val.fingerprint === fingerprint);
  const files = await writeEvaluation(
    report,
    { about, evaluation, methods, robustness: points, unreadable, notes },
    { judged, calibration, rules },
  );
  return {
    status: "done",
    computed,
    unreadable,
    evaluation,
    robustness: points,
    methods,
    files: [...files, join(report, "predictions.csv")],
  };
}

/** `Distance (RAR, 2.71) and Distance (VAR, 3.14)`. */
function describeRules({ labels, families }: Rules): string {
  return labels.families.map((name) => {
    const { signal, threshold } = families[name];
    return `${scoreTable[signal].title} (${familyNamed(name).title}, ${show(threshold)})`;
  }).join(" and ");
}

async function labelledImages(
  { val, labels: table, limitPerLabel: limit }: EvaluationOptions,
  labels: Labels,
  events: EvaluationEvents,
): Promise<LabelledImage[]> {
  let images: LabelledImage[];
  if (table === undefined) images = await listLabelFolders("--val", val, labels);
  else {
    const found = await listWithTable("--val", val, table, labels);
    images = found.images;
    if (found.unlabelled > 0) {
      events.onNote?.(`${found.unlabelled} images of ${val} have no row in ${table}: left out`);
    }
  }
  return limit === undefined ? images : limitPerLabel(images, limit);
}

/** What a reader must know about these numbers. */
function describeLimits({ labels, images, strategies }: Evaluation, isFitted: boolean): string[] {
  const notes: string[] = [];
  const outliers = labels.outlier ?? 0;
  if (outliers === 0) notes.push("There are no outliers: their recall, and rates against them, are not defined.");
  if (images === outliers) notes.push("There are outliers only: no signal has members to find.");
  if (images < 100) {
    notes.push(`These are ${images} images: the intervals are wide, and too narrow where no error occurred.`);
  }
  if (strategies.length === 0) notes.push("The set is not calibrated for what decides: every image passes.");
  if (isFitted) {
    notes.push(
      "The thresholds were fitted on these very images (val of the calibration): rates of verdicts are too good; " +
        "calibrate prints cross-fitted ones.",
    );
  }
  return notes;
}

function show(threshold: number | null): string {
  return threshold === null ? "no threshold" : String(Number(threshold.toPrecision(4)));
}
