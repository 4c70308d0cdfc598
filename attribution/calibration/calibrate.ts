/**
 * Calibrates a model set with labelled images: measures train and val, fits thresholds (thresholds.ts) and classifiers
 * (classifiers.ts), and writes the calibration file of the set.
 */
import { basename, join } from "node:path";
import { sizeOf } from "../../core/tensor/mod.ts";
import type { PlannedDevice } from "../../models/footprint.ts";
import { inferenceWithin, usualInference } from "../likelihood/operations.ts";
import { parseJson } from "../../util/json.ts";
import { manifestPath, type ModelSet } from "../../models/model_set.ts";
import * as v from "npm:valibot@1.5.0";
import { openDevice } from "../../core/open_device.ts";
import {
  type Calibration,
  calibrationFormat,
  calibrationFormatWithLatents,
  type DataSummary,
  rulesOf,
} from "../decision/calibration_file.ts";
import { estimateLatents } from "./estimate_latents.ts";
import type { FitOptions, Labelled } from "./fit_thresholds.ts";
import { requireSizes } from "./image_sizes.ts";
import { type Fit, fitCalibration, requireFittable } from "./thresholds.ts";
import { drawEdits, drawWrongPose, formatEdits } from "../images/edits/mod.ts";
import type { ImageInput } from "../images/load.ts";
import { countLabels, type Folders, type LabelledImage, limitPerLabel, listLabelled } from "../images/labelled.ts";
import type { MeasuredLine } from "../evidence/evidence.ts";
import { expectNoFile, isFile, PartFile, writeFileAtomically } from "../../util/files.ts";
import { chooseModels } from "../run/choose_models.ts";
import type { SignalLevel } from "../signals/table.ts";
import { type ClassifiersFit, fitClassifiers, type LabelledLine, whyNotFittable } from "./classifiers.ts";
import { chooseScored, defaultLikelihoods } from "./choose_scored.ts";
import type { Example, FittedTo } from "./fit_joint.ts";
import { extrasFor } from "../decision/extras.ts";
import { type Labels, labelsOf, mapFamilies, outlierLabel } from "../labels.ts";
import { gatherLines, type MeasuringEvents, type MeasuringOptions } from "../run/measure_images.ts";
import type { RunOptions } from "../run/open_run.ts";
import { defaultQuantizer, type QuantizerName } from "../quantisation/quantizers.ts";
import { sha256Hex } from "../../util/hash.ts";
import { HashMemory } from "../../util/hash_memory.ts";

/** What to calibrate, and how. */
export interface CalibrationOptions extends RunOptions {
  /** Folder, or folders, with a folder of images per label. */
  readonly train: Folders;
  /** The same, with `outlier/`; thresholds are chosen by these images. */
  readonly val: Folders;
  /** Folder of the model set. Default: as `Tracer.open`. */
  readonly models?: string;
  /** Default: `defaultQuantizer` of the set. */
  readonly quantization?: QuantizerName;
  /** Path of the file. Default: the one that the manifest names, or calibration.json, which the manifest then names. */
  readonly out?: string;
  /** Replace a file at `out`. Default false: that throws. The file that the manifest names is replaced anyway. */
  readonly force?: boolean;
  /** Signals to measure. Default `all`. */
  readonly signals?: Exclude<SignalLevel, "baselines">;
  /** Fit thresholds only, without running transformers. Default false. */
  readonly thresholdsOnly?: boolean;
  /** Class condition of the likelihoods that classifiers are fitted to. Default `infer`. */
  readonly condition?: "none" | "infer";
  /**
   * Most operations of the transformers for an image of one family. Fewer classes are compared and kept where all would
   * cost more; whoever decides by the calibration then does the same. Default: `usualBudget`.
   */
  readonly budget?: number;
  /** Fit these methods in addition. */
  readonly extras?: readonly ("membership" | "prada")[];
  /** Epochs for PRADA's score functions. Default 3000. */
  readonly pradaEpochs?: number;
  /** Processed copies of every image that classifiers are fitted to. With 0, processed images are not known. Default 2. */
  readonly copies?: number;
  /**
   * Which likelihoods classifiers are fitted to: `all` of every image, or those of families that its signals leave
   * `open`. Default: `defaultLikelihoods`.
   */
  readonly likelihoods?: FittedTo;
  /** Use only so many images of every label. Default: all. */
  readonly limitPerLabel?: number;
  /** Options of the thresholds. */
  readonly fit?: FitOptions;
}

/** The result of a calibration. */
export interface CalibrationResult {
  readonly status: "done" | "interrupted";
  readonly modelSet: { readonly dir: string; readonly hash: string };
  /** Images for which a network had to run; the others were in the journal. */
  readonly computed: number;
  /** Names of the images that could not be read and were left out. */
  readonly unreadable: readonly string[];
  /** Path of the file. Set when it is done, as the fields below. */
  readonly path?: string;
  readonly calibration?: Calibration;
  readonly fit?: Fit;
  /** Undefined if only thresholds were requested or possible. */
  readonly classifiers?: ClassifiersFit;
}

/**
 * Calibrates a model set and writes its calibration file. Throws before any network runs on wrong folders, weights and
 * outputs, and on data that cannot be fitted.
 */
export async function runCalibration(
  options: CalibrationOptions,
  events: MeasuringEvents = {},
): Promise<CalibrationResult> {
  const set = await chooseModels(options.models, events);
  const labels = labelsOf(set);
  const { train, val } = await listData(options, labels);
  requireFittable(train, val, labels, options.fit);
  await requireSizes(set, [...train, ...val], labels, { ...options, ...events });
  const path = options.out ?? join(set.dir, set.manifest.calibration ?? defaultFile(set));
  if (options.out !== undefined) await expectNoFile("--out", path, options.force);
  else if (await isFile(path)) events.onNote?.(`${path}: will be replaced by the new calibration`);
  await using cleanup = new AsyncDisposableStack();
  const file = await PartFile.create("--out", path);
  cleanup.defer(() => file.discard());
  const memory = await HashMemory.open();
  await set.check({ memory, onNetwork: (title) => events.onPrepare?.(`checking ${title}`) });

  // Refused here where it is too small for any settings.
  if (options.budget !== undefined) inferenceWithin(set, options.budget, countingDevice);
  const originals = [...train, ...val];
  const withClassifiers = shouldFitClassifiers(originals, labels, options, events);
  const images = withClassifiers ? [...asIs(originals), ...processed(originals, options)] : asIs(originals);
  const quantization = options.quantization ?? defaultQuantizer(set);
  const latents = await estimateLatents(set, train, labels, { ...options, ...events, quantization });
  const likelihoods = options.likelihoods ?? defaultLikelihoods(set),
    isOpen = withClassifiers && likelihoods === "open";
  const what = { ...options, quantization };
  const first = await measureAll(set, images, { ...what, isScored: withClassifiers && !isOpen }, events);
  const modelSet = { dir: set.dir, hash: set.hash };
  if (first.status !== "done") return { status: "interrupted", modelSet, ...first.counts };

  const trainLines = first.measured.filter(({ i }) => i < train.length);
  const valLines = first.measured.filter(({ i }) => i >= train.length && i < originals.length);
  noteTwins(trainLines, valLines, events);
  const fit = fitCalibration(trainLines.map(signalsOf), valLines.map(signalsOf), labels, options.fit);
  const thresholds: Calibration = {
    format: latents === undefined ? calibrationFormat : calibrationFormatWithLatents,
    modelSet: set.hash,
    quantization,
    data: { train: await summarise(trainLines, labels), val: await summarise(valLines, labels) },
    decision: fit.decision,
    families: fit.families,
    oneClass: fit.oneClass,
    ...latents !== undefined && { latents },
    variants: { scale: await formerScale(path, set) },
  };
  let { measured } = first, counts = first.counts;
  if (isOpen) {
    const prada = options.extras?.includes("prada") ?? false;
    const { wanted, share } = chooseScored(measured, rulesOf(thresholds, labels), { prada });
    events.onNote?.(`signals leave ${(100 * share).toFixed(0)} % of the likelihoods open: the others are not measured`);
    const second = await measureAll(set, images, { ...what, isScored: true, wanted, openShare: share }, events);
    // What it scores was seen before, so that it is not counted twice.
    counts = { ...counts, computed: Math.max(counts.computed, second.counts.computed) };
    if (second.status !== "done") return { status: "interrupted", modelSet, ...counts };
    measured = second.measured;
  }
  const classifiers = withClassifiers
    ? await fitOn(set, measured, thresholds, { ...options, likelihoods }, events)
    : undefined;
  const calibration = classifiers === undefined
    ? thresholds
    : { ...thresholds, classifiers: rounded(classifiers.classifiers) };
  await file.write(formatCalibration(calibration));
  await file.finish();
  if (options.out === undefined && set.manifest.calibration === undefined) await nameInManifest(set, events);
  return { status: "done", modelSet, ...counts, path, calibration, fit, classifiers };
}

/** Lists the labelled images of both folders, with `train/` or `val/` before their names. */
async function listData(
  { train, val, limitPerLabel: limit }: CalibrationOptions,
  labels: Labels,
): Promise<{ train: LabelledImage[]; val: LabelledImage[] }> {
  const list = async (part: "train" | "val", folders: Folders) => {
    const { images } = await listLabelled(`--${part}`, folders, undefined, labels);
    const limited = limit === undefined ? images : limitPerLabel(images, limit);
    return limited.map((image) => ({ ...image, imageName: `${part}/${image.imageName}` }));
  };
  return { train: await list("train", train), val: await list("val", val) };
}

/** An image to measure, with what is done to it first. */
type Sample = LabelledImage & ImageInput & Pick<Example, "role" | "group">;

function asIs(images: readonly LabelledImage[]): Sample[] {
  return images.map((image) => ({ ...image, role: "original", group: image.picture ?? image.imageName }));
}

/** The seed of what processed copies go through. */
const processingSeed = 20;

/**
 * Copies of images as the world processes them, and one of every generated image off its grid. Outliers are processed
 * as generated images are, so that processing tells nothing of either.
 */
function processed(images: readonly LabelledImage[], { copies = 2 }: CalibrationOptions): Sample[] {
  const counts = new Map<string, number>();
  return asIs(images).flatMap((image): Sample[] => {
    const { label, imageName } = image, n = counts.get(label) ?? 0;
    counts.set(label, n + 1);
    const draws = Array.from({ length: copies }, (_, c) => drawEdits(processingSeed, n * copies + c));
    const samples = draws.map((edits): Sample => ({
      ...{ ...image, edits, role: "copy" as const },
      imageName: `${imageName} after ${formatEdits(edits)}`,
    }));
    if (label === outlierLabel) return samples;
    // Off its grid as it is, and processed.
    const moves = [drawWrongPose(processingSeed, n)];
    if (copies > 0) moves.push([...drawWrongPose(processingSeed + 1, n), ...drawEdits(processingSeed + 1, n)]);
    return [
      ...samples,
      ...moves.map((edits): Sample => ({
        ...{ ...image, edits, role: "moved" as const },
        imageName: `${imageName} after ${formatEdits(edits)}`,
      })),
    ];
  });
}

/** Whether to fit classifiers. Notes why not where the images do not suffice. */
function shouldFitClassifiers(
  images: readonly LabelledImage[],
  labels: Labels,
  { thresholdsOnly = false }: CalibrationOptions,
  events: MeasuringEvents,
): boolean {
  if (thresholdsOnly) return false;
  const problem = whyNotFittable(images, labels);
  if (problem !== undefined) events.onNote?.(`thresholds alone are fitted: ${problem}`);
  return problem === undefined;
}

/** Operations do not depend on where they run: weights are counted as they are. */
const countingDevice: PlannedDevice = {
  info: { kind: "cpu", name: "", maxTensorBytes: Infinity, software: false },
  packedBytes: (_, shape) => 4 * sizeOf(shape),
};

/** What is measured of all images. */
interface MeasuredAll extends CalibrationOptions, Pick<MeasuringOptions, "wanted" | "openShare"> {
  readonly quantization: QuantizerName;
  /** Whether transformers run. */
  readonly isScored: boolean;
}

/** Measures all images. Also returns the names of unreadable ones. */
async function measureAll(
  set: ModelSet,
  images: readonly Sample[],
  { isScored, ...options }: MeasuredAll,
  events: MeasuringEvents,
) {
  const { extras = [], signals = "all", condition = "infer" } = options;
  const tokens = extras.map((name) => name === "prada" ? "tokens" as const : name);
  const inference = condition !== "infer"
    ? undefined
    : options.budget === undefined
    ? usualInference(set, countingDevice)
    : inferenceWithin(set, options.budget, countingDevice);
  const scoring = isScored ? { condition, inference, extras: extrasFor(tokens) } : undefined;
  const unreadable: string[] = [];
  const { summary, lines } = await gatherLines(set, images, { ...options, signals, scoring }, {
    ...events,
    onLine: (line, index) => {
      if ("error" in line && images[index].role === "original") unreadable.push(line.image);
      if (options.wanted === undefined) events.onLine?.(line, index);
    },
  });
  const measured = images.flatMap(({ label, role, group }, i) =>
    lines[i] === undefined ? [] : [{ label, role, group, line: lines[i], i }]
  );
  return { status: summary.status, counts: { computed: summary.images.computed, unreadable }, measured };
}

function signalsOf({ label, line }: LabelledLine): Labelled {
  return { label, families: line.families };
}

/** Fits the classifiers. Opens a device for PRADA's score functions; the one that measured is closed by now. */
async function fitOn(
  set: ModelSet,
  measured: readonly LabelledLine[],
  thresholds: Calibration,
  options: CalibrationOptions,
  events: MeasuringEvents,
): Promise<ClassifiersFit> {
  const rules = rulesOf(thresholds, labelsOf(set));
  const { likelihoods } = options;
  if (!options.extras?.includes("prada")) {
    return await fitClassifiers(measured, { rules, likelihoods, onNote: events.onNote });
  }
  const device = await openDevice(options.device ?? "auto", { threads: options.threads });
  try {
    const scaleLengths = mapFamilies(set.families, (family) => {
      const { patchNums } = set.tokenizerFacts(family);
      return patchNums.length === 1 ? null : patchNums.map((side) => side * side);
    });
    const prada = { device, epochs: options.pradaEpochs ?? 3000, scaleLengths };
    return await fitClassifiers(measured, { rules, likelihoods, prada, onNote: events.onPrepare });
  } finally {
    device.close();
  }
}

/** Rounds numbers to nine digits, which represent any float32. Further digits would only make the file longer. */
function rounded<T>(value: T): T {
  if (typeof value === "number") return Number(value.toPrecision(9)) as T;
  if (Array.isArray(value)) return value.map(rounded) as T;
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, rounded(field)])) as T;
}

/** JSON with lists of numbers on one line each. */
function formatCalibration(calibration: Calibration): string {
  const text = JSON.stringify(calibration, null, 2);
  return text.replace(/\[[-+.,\d\seE]*\]/g, (list) => list.replace(/\s+/g, "").replaceAll(",", ", ")) + "\n";
}

const defaultFile = (set: ModelSet): string =>
  basename(manifestPath(set.path)).replace(/\.json$/, "_calibration.json").replace(/^manifest_/, "");

/** Notes images that are in both train and val: they make the rates on val too good. */
function noteTwins(
  train: readonly { line: MeasuredLine }[],
  val: readonly { line: MeasuredLine }[],
  events: MeasuringEvents,
): void {
  const known = new Set(train.map(({ line }) => line.sha256));
  const twins = val.filter(({ line }) => known.has(line.sha256));
  if (twins.length === 0) return;
  const names = twins.slice(0, 3).map(({ line }) => line.image).join(", ");
  events.onNote?.(
    `${twins.length} images of val are in train as well (such as ${names}): rates on val are too good`,
  );
}

/** Fingerprint and sizes of a part of the data. */
async function summarise(
  items: readonly { label: LabelledImage["label"]; line: MeasuredLine }[],
  labels: Labels,
): Promise<DataSummary> {
  return {
    fingerprint: await dataFingerprint(items.map(({ label, line }) => ({ label, sha256: line.sha256 }))),
    images: items.length,
    labels: countLabels(items, labels),
  };
}

/** Identifies labelled images independently of their names: sha256 of their sorted labels and content hashes. */
export async function dataFingerprint(
  items: readonly { readonly label: string; readonly sha256: string }[],
): Promise<string> {
  const lines = items.map(({ label, sha256 }) => `${label} ${sha256}`).sort();
  return await sha256Hex(new TextEncoder().encode(lines.join("\n")));
}

/** The scale of the likelihoods in the file that is replaced, if it is for the same weights; else the default. */
async function formerScale(path: string, set: ModelSet): Promise<number> {
  const fallback = 20;
  const schema = v.object({ modelSet: v.literal(set.hash), variants: v.object({ scale: v.number() }) });
  try {
    return parseJson(schema, await Deno.readTextFile(path), path).variants.scale;
  } catch {
    return fallback;
  }
}

/** Names the calibration in the manifest. The hash of the set does not depend on it. */
async function nameInManifest(set: ModelSet, events: MeasuringEvents): Promise<void> {
  const path = manifestPath(set.path);
  const manifest = JSON.parse(await Deno.readTextFile(path));
  const { format, name, description, ...rest } = manifest;
  const changed = { format, name, description, calibration: defaultFile(set), ...rest };
  await writeFileAtomically(path, JSON.stringify(changed, null, 2) + "\n");
  events.onNote?.(`${path}: named ${defaultFile(set)} as its calibration`);
}
