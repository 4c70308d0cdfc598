/**
 * Evaluates a model set on labelled images: verdicts, on request a comparison of methods, robustness and baselines,
 * then the report. One journal keeps all measurements.
 */
import { join } from "node:path";
import type { ModelSet } from "../../models/model_set.ts";
import type { TransformName } from "../images/augment/mod.ts";
import { type Calibration, levelOf, loadCalibration, type Rules, rulesOf } from "../decision/calibration_file.ts";
import { dataFingerprint } from "../calibration/calibrate.ts";
import { isUnreadable, type MeasuredLine } from "../evidence/evidence.ts";
import { attributeFiles, type AttributeFilesOptions, type Summary } from "../run/attribute.ts";
import { chooseModels } from "../run/choose_models.ts";
import { type Label, type Labels, labelsOf } from "../labels.ts";
import { familyNamed } from "../../models/registry.ts";
import type { QuantizerName } from "../quantisation/quantizers.ts";
import { scoreTable } from "../signals/table.ts";
import { evaluate, type Evaluation, type Judged } from "./evaluate.ts";
import { type LabelledImage, limitPerLabel, listLabelFolders, listWithTable } from "../images/labelled.ts";
import { extrasFor } from "../decision/extras.ts";
import { gatherLines, measureImages, type MeasuringEvents } from "../run/measure_images.ts";
import { journalIn, makeReportFolder } from "../run/report.ts";
import { compareMethods, extrasOf, knownMethods, type MethodResult } from "./methods.ts";
import { writeEvaluation } from "./report.ts";
import { attackedImages, type RobustnessPoint, robustnessPoint } from "./robustness.ts";

/** What to evaluate, and how. */
export interface EvaluationOptions extends Omit<AttributeFilesOptions, "inputs" | "out" | "report" | "limit"> {
  /** Folder with a folder of images per label; with `labels`, any folder of images. */
  readonly val: string;
  /** CSV with image_name and label. Default: labels are the names of folders. */
  readonly labels?: string;
  /** Folder for the report, and for the journal unless `journal` names another file. */
  readonly report: string;
  /** Evaluate only so many images of every label. Default: all. */
  readonly limitPerLabel?: number;
  /** Evaluate on processed images, too: with all attacks, or with these. Default false. */
  readonly robustness?: boolean | readonly TransformName[];
  /** Evaluate the baselines AEDR, Reconstruction and LatentTracer, too. Default false. */
  readonly baselines?: boolean;
  /** Compare all methods that the calibration allows. Runs all variants over all images. Default false. */
  readonly compare?: boolean;
  /** Seed of bootstrap samples and of attacks. Default 0. */
  readonly seed?: number;
  /** Number of bootstrap samples. Default 1000. */
  readonly resamples?: number;
}

/** Progress of an evaluation. */
export interface EvaluationEvents extends MeasuringEvents {
  /** Called when a stage begins: `verdicts`, `methods`, `robustness`, `baselines` or `report`. */
  readonly onStage?: (name: string) => void;
}

/** The result; the optional fields are set when it is done. */
export interface EvaluationResult {
  readonly status: "done" | "interrupted";
  readonly unreadable: readonly { readonly image: string; readonly message: string }[];
  /** Images, processed ones included, for which a network had to run; the others were in the journal. */
  readonly computed?: number;
  readonly evaluation?: Evaluation;
  readonly robustness?: readonly RobustnessPoint[];
  readonly methods?: readonly MethodResult[];
  /** Paths of the files that were written. */
  readonly files?: readonly string[];
}

/** What the stages of an evaluation share. */
interface Context {
  readonly options: EvaluationOptions;
  readonly events: EvaluationEvents;
  readonly set: ModelSet;
  readonly calibration: Calibration;
  readonly rules: Rules;
  readonly images: readonly LabelledImage[];
  /** Options of every run over images. */
  readonly shared: EvaluationOptions & { readonly models: string; readonly quantization: QuantizerName };
  /** Images, processed ones included, for which a network had to run so far. */
  computed: number;
  readonly unreadable: { image: string; message: string }[];
}

/** Ends an evaluation that was interrupted, from within a stage. */
class Interrupted extends Error {}

/** Evaluates a model set. Throws before any network runs on wrong folders, tables, weights and outputs. */
export async function runEvaluation(
  options: EvaluationOptions,
  events: EvaluationEvents = {},
): Promise<EvaluationResult> {
  const { report } = options;
  const set = await chooseModels(options.models, events);
  const labels = labelsOf(set);
  const images = await labelledImages(options, labels, events);
  const { calibration, sha256 } = await loadCalibration(set);
  const rules = rulesOf(calibration, labels, options.rules);
  const quantization = options.quantization ?? calibration.quantization;
  await makeReportFolder(report);
  const journal = options.journal ?? journalIn(report);
  const context: Context = {
    ...{ options, events, set, calibration, rules, images, computed: 0, unreadable: [] },
    shared: { ...options, models: set.dir, quantization, journal },
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
  events.onStage?.("verdicts");
  const { judged, fingerprint, summary } = await judgeImages(context);
  let methods: MethodResult[] = [], robustness: RobustnessPoint[] = [], withBaselines = judged;
  if (options.compare) {
    events.onStage?.("methods");
    methods = await compareOn(judged, context);
  }
  if (options.robustness) {
    events.onStage?.("robustness");
    robustness = await attackImages(context);
  }
  if (options.baselines) {
    events.onStage?.("baselines");
    withBaselines = await addBaselines(judged, context);
  }
  events.onStage?.("report");
  const threshold = options.rules?.threshold ?? calibration.decision.threshold;
  const evaluation = evaluate(withBaselines, { calibration, rules, threshold, bootstrap: { seed, resamples } });
  const files = await writeEvaluation(
    report,
    {
      about: aboutEvaluation(context, { summary, calibrationHash, fingerprint }),
      ...{ evaluation, methods, robustness, unreadable },
      notes: describeLimits(evaluation, calibration.data?.val.fingerprint === fingerprint),
    },
    { judged: withBaselines, calibration, rules },
  );
  return {
    status: "done",
    ...{ computed: context.computed, unreadable, evaluation, robustness, methods },
    files: [...files, join(report, "predictions.csv")],
  };
}

/** Counts the computed images of a finished run. Throws `Interrupted` for a run that was not finished. */
function requireDone(
  { status, images }: { readonly status: string; readonly images: { readonly computed: number } },
  context: Context,
): void {
  if (status !== "done") throw new Interrupted();
  context.computed += images.computed;
}

/** Attributes the images, and returns their verdicts with the fingerprint of the labelled data. */
async function judgeImages(
  context: Context,
): Promise<{ judged: readonly Judged[]; fingerprint: string; summary: Summary }> {
  const { options, events, images, shared, unreadable } = context;
  const byName = new Map(images.map((image) => [image.imageName, image]));
  const judged: Judged[] = [];
  const contents: { label: Label; sha256: string }[] = [];
  const summary = await attributeFiles({
    ...shared,
    inputs: images,
    out: join(options.report, "predictions.csv"),
    force: true,
    report: options.report,
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
  requireDone(summary, context);
  if (judged.length === 0) {
    throw new Error(`--val ${options.val}: none of ${images.length} images can be read: ${unreadable[0].message}`);
  }
  return { judged, fingerprint: await dataFingerprint(contents), summary };
}

/** Compares all methods that the calibration allows on the images that were judged. */
async function compareOn(judged: readonly Judged[], context: Context): Promise<MethodResult[]> {
  const { options, events, set, rules, shared } = context;
  const { seed = 0, resamples = 1000 } = options;
  const names = knownMethods(rules);
  const { summary, lines } = await gatherLines(set, inputsOf(judged, context), {
    ...shared,
    signals: "core",
    scoring: {
      condition: rules.classifiers?.condition ?? "infer",
      inference: rules.classifiers?.inference,
      extras: extrasFor(extrasOf(names), rules.classifiers),
    },
    report: join(options.report, "methods"),
  }, events);
  requireDone(summary, context);
  const measured = lines.flatMap((line, i) => line === undefined ? [] : [{ label: judged[i].label, line }]);
  return compareMethods(measured, rules, names, { seed, resamples });
}

/** Measures processed copies of the readable images. Points without images are left out. */
async function attackImages(context: Context): Promise<RobustnessPoint[]> {
  const { options, events, set, rules, images, shared, unreadable } = context;
  const readable = images.filter(({ imageName }) => !unreadable.some(({ image }) => image === imageName));
  const attacks = options.robustness === true || options.robustness === false ? undefined : options.robustness;
  const attacked = attackedImages(readable, options.seed ?? 0, attacks);
  const points: RobustnessPoint[] = [];
  // Attacked images are ordered by attack and strength; the evidence of one strength at a time is kept in memory.
  let current: { label: Label; families: MeasuredLine["families"] }[] = [];
  const summary = await measureImages(set, attacked, {
    ...shared,
    signals: levelOf(rules),
    report: join(options.report, "robustness"),
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
  requireDone(summary, context);
  return points.filter(({ images }) => images > 0);
}

/** Measures the signals of the level `baselines` of the images that were judged. */
async function addBaselines(judged: readonly Judged[], context: Context): Promise<Judged[]> {
  const { options, events, set, shared } = context;
  const { summary, lines } = await gatherLines(set, inputsOf(judged, context), {
    ...shared,
    signals: "baselines",
    report: join(options.report, "baselines"),
  }, events);
  requireDone(summary, context);
  return judged.map((item, i) => ({ ...item, baselines: lines[i]?.families }));
}

function inputsOf(judged: readonly Judged[], { images }: Context): readonly LabelledImage[] {
  const byName = new Map(images.map((image) => [image.imageName, image]));
  return judged.map(({ image }) => byName.get(image)!);
}

/** The table that ends the report: everything that the numbers depend on. */
function aboutEvaluation(
  { options, calibration, rules, images, shared }: Context,
  { summary, calibrationHash, fingerprint }: {
    readonly summary: Summary;
    readonly calibrationHash: string | null;
    readonly fingerprint: string;
  },
): Record<string, string> {
  const { val, labels, seed = 0, resamples = 1000 } = options;
  const threshold = options.rules?.threshold ?? calibration.decision.threshold;
  const { modelSet, method, settings, device } = summary;
  const { data } = calibration;
  const fittedOn = data === null
    ? "nothing, set by hand"
    : `train ${data.train.fingerprint.slice(0, 12)}, val ${data.val.fingerprint.slice(0, 12)}`;
  return {
    images: `${val}${labels === undefined ? "" : ` with ${labels}`}, ${images.length} images`,
    fingerprint,
    "model set": `${modelSet.name} ${modelSet.hash}`,
    calibration: calibrationHash ?? "none",
    "fitted on": fittedOn,
    decides: `${threshold ?? "no"} thresholds on ${describeRules(rules)}; variants by ${method}`,
    quantisation: shared.quantization,
    device: `${settings.device}, ${device}`,
    weights: settings.weightType,
    seed: String(seed),
    intervals: `95 %, ${resamples} bootstrap samples`,
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
    const listed = await listWithTable("--val", val, table, labels);
    images = listed.images;
    if (listed.unlabelled > 0) {
      events.onNote?.(`${listed.unlabelled} images of ${val} have no row in ${table}: left out`);
    }
  }
  return limit === undefined ? images : limitPerLabel(images, limit);
}

/** Notes on what limits the numbers of this evaluation. */
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
