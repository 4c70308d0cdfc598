/**
 * Calibration of a model set from label folders: measures train and val with a journal, fits, and writes the set's file.
 * Checks everything that can be wrong before any work. It prints nothing; what is fitted and how is in thresholds.ts and classifiers.ts.
 */
import { dirname, join } from "node:path";
import { parseJson } from "../../util/json.ts";
import type { ModelSet } from "../../models/model_set.ts";
import * as v from "npm:valibot@1.5.0";
import { openDevice } from "../../core/open_device.ts";
import { type Calibration, calibrationFormat, type DataSummary, rulesOf } from "../decision/calibration_file.ts";
import { type Fit, fitCalibration, type FitOptions, type Labelled, requireFittable } from "./thresholds.ts";
import { countLabels, type LabelledImage, limitPerLabel, listLabelFolders } from "../images/labelled.ts";
import type { MeasuredLine } from "../evidence/evidence.ts";
import { writeFileAtomically } from "../../util/files.ts";
import { chooseModels } from "../run/choose_models.ts";
import type { SignalLevel } from "../signals/table.ts";
import { type ClassifiersFit, fitClassifiers, type LabelledLine, whyNotFittable } from "./classifiers.ts";
import { extrasFor } from "../decision/extras.ts";
import { type Labels, labelsOf, mapFamilies } from "../labels.ts";
import { gatherLines, type MeasuringEvents } from "../run/measure_images.ts";
import type { RunOptions } from "../run/open_run.ts";
import { defaultQuantizer, type QuantizerName } from "../quantisation/quantizers.ts";
import { sha256Hex } from "../../util/hash.ts";

export interface CalibrationOptions extends RunOptions {
  /** Label folders. */
  readonly train: string;
  readonly val: string;
  readonly models?: string;
  /** Default: `defaultQuantizer` of the set. */
  readonly quantization?: QuantizerName;
  /** Default: the file that the manifest names; where it names none, calibration.json, which it then does. */
  readonly out?: string;
  readonly signals?: Exclude<SignalLevel, "baselines">;
  /** Fit thresholds alone, without running transformers. */
  readonly thresholdsOnly?: boolean;
  /** Class condition of the likelihoods that classifiers are fitted to. Default `infer`. */
  readonly condition?: "none" | "infer";
  /** Fit these methods, too. */
  readonly extras?: readonly ("membership" | "prada")[];
  /** Of PRADA's score functions. Default 3000. */
  readonly pradaEpochs?: number;
  readonly limitPerLabel?: number;
  readonly fit?: FitOptions;
}

export interface CalibrationResult {
  readonly status: "done" | "interrupted";
  readonly modelSet: { readonly dir: string; readonly hash: string };
  /** Images for which a network had to run; the others were in the journal. */
  readonly computed: number;
  /** Images that could not be read and were left out. */
  readonly unreadable: readonly string[];
  /** Set when it is done. */
  readonly path?: string;
  readonly calibration?: Calibration;
  readonly fit?: Fit;
  /** Unless thresholds alone were asked for, or there are too few images. */
  readonly classifiers?: ClassifiersFit;
}

/** Runs the job. Throws before any work on wrong folders, weights, outputs, and on data that cannot be fitted. */
export async function runCalibration(
  options: CalibrationOptions,
  events: MeasuringEvents = {},
): Promise<CalibrationResult> {
  const limited = (images: LabelledImage[]) =>
    options.limitPerLabel === undefined ? images : limitPerLabel(images, options.limitPerLabel);
  const set = await chooseModels(options.models, events);
  const labels = labelsOf(set);
  const train = limited(await listLabelFolders("--train", options.train, labels));
  const val = limited(await listLabelFolders("--val", options.val, labels));
  requireFittable(train, val, labels, options.fit);
  const path = options.out ?? join(set.dir, set.manifest.calibration ?? defaultFile);
  await requireWritable(path);
  await set.check({ onNetwork: (title) => events.onPrepare?.(`checking ${title}`) });

  const images = [...train.map((image) => named("train", image)), ...val.map((image) => named("val", image))];
  const unreadable: string[] = [];
  const withUnreadable: MeasuringEvents = {
    ...events,
    onLine: (line, index) => {
      if ("error" in line) unreadable.push(line.image);
      events.onLine?.(line, index);
    },
  };
  const { thresholdsOnly = false, extras = [], signals = "all", condition = "infer" } = options;
  const quantization = options.quantization ?? defaultQuantizer(set);
  const problem = thresholdsOnly ? undefined : whyNotFittable(images, labels);
  if (problem !== undefined) events.onNote?.(`thresholds alone are fitted: ${problem}`);
  const full = !thresholdsOnly && problem === undefined;
  const tokens = extras.map((name) => name === "prada" ? "tokens" as const : name);
  const scoring = full ? { condition, extras: extrasFor(tokens) } : undefined;
  const { summary, lines } = await gatherLines(
    set,
    images,
    { ...options, quantization, signals, scoring },
    withUnreadable,
  );
  const modelSet = { dir: set.dir, hash: set.hash };
  if (summary.status !== "done") {
    return { status: "interrupted", modelSet, computed: summary.images.computed, unreadable };
  }

  const measured = images.flatMap(({ label }, i) => lines[i] === undefined ? [] : [{ label, line: lines[i], i }]);
  const [own, held] = [measured.filter(({ i }) => i < train.length), measured.filter(({ i }) => i >= train.length)];
  noteTwins(own, held, events);
  const labelled = (items: typeof measured): Labelled[] =>
    items.map(({ label, line }) => ({ label, families: line.families }));
  const fit = fitCalibration(labelled(own), labelled(held), labels, options.fit);
  const thresholds: Calibration = {
    format: calibrationFormat,
    modelSet: set.hash,
    quantization,
    data: { train: await summarise(own, labels), val: await summarise(held, labels) },
    decision: fit.decision,
    families: fit.families,
    oneClass: fit.oneClass,
    variants: { scale: await formerScale(path, set) },
  };
  const classifiers = full ? await fitOn(set, measured, thresholds, options, events) : undefined;
  const calibration = classifiers === undefined
    ? thresholds
    : { ...thresholds, classifiers: rounded(classifiers.classifiers) };
  await writeFileAtomically(path, formatCalibration(calibration));
  if (options.out === undefined && set.manifest.calibration === undefined) await nameInManifest(set, events);
  const { computed } = summary.images;
  return { status: "done", modelSet, computed, unreadable, path, calibration, fit, classifiers };
}

/** Fits the classifiers; PRADA's score functions on a device of its own, since the one that measured is closed. */
async function fitOn(
  set: ModelSet,
  measured: readonly LabelledLine[],
  thresholds: Calibration,
  options: CalibrationOptions,
  events: MeasuringEvents,
): Promise<ClassifiersFit> {
  const rules = rulesOf(thresholds, labelsOf(set));
  if (!options.extras?.includes("prada")) return await fitClassifiers(measured, { rules });
  const device = await openDevice(options.device ?? "auto", { threads: options.threads });
  try {
    const scaleLengths = mapFamilies(set.families, (family) => {
      const { patchNums } = set.tokenizerFacts(family);
      return patchNums.length === 1 ? null : patchNums.map((side) => side * side);
    });
    const prada = { device, epochs: options.pradaEpochs ?? 3000, scaleLengths };
    return await fitClassifiers(measured, { rules, prada, onNote: events.onPrepare });
  } finally {
    device.close();
  }
}

/** Numbers with nine digits, as many as float32 has: coefficients beyond them are noise that takes room. */
function rounded<T>(value: T): T {
  if (typeof value === "number") return Number(value.toPrecision(9)) as T;
  if (Array.isArray(value)) return value.map(rounded) as T;
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, own]) => [name, rounded(own)])) as T;
}

/** JSON with lists of numbers on one line each. */
function formatCalibration(calibration: Calibration): string {
  const text = JSON.stringify(calibration, null, 2);
  return text.replace(/\[[-+.,\d\seE]*\]/g, (list) => list.replace(/\s+/g, "").replaceAll(",", ", ")) + "\n";
}

const defaultFile = "calibration.json";

function named(part: string, image: LabelledImage): LabelledImage {
  return { ...image, imageName: `${part}/${image.imageName}` };
}

/** Images that are in both sets flatter every number that is taken on val. */
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
    `${twins.length} images of val are in train as well (such as ${names}): what is counted on them is too good`,
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

/** Identifies labelled images whatever they are called: sha256 over their sorted labels and content hashes. */
export async function dataFingerprint(
  items: readonly { readonly label: string; readonly sha256: string }[],
): Promise<string> {
  const lines = items.map(({ label, sha256 }) => `${label} ${sha256}`).sort();
  return await sha256Hex(new TextEncoder().encode(lines.join("\n")));
}

/** The scale of the likelihoods in the file that is replaced, if that was made for the same weights; else the default. */
async function formerScale(path: string, set: ModelSet): Promise<number> {
  const fallback = 20;
  const schema = v.object({ modelSet: v.literal(set.hash), variants: v.object({ scale: v.number() }) });
  try {
    return parseJson(schema, await Deno.readTextFile(path), path).variants.scale;
  } catch {
    return fallback;
  }
}

/** Adds the calibration to a manifest that names none; what identifies the set does not change. */
async function nameInManifest(set: ModelSet, events: MeasuringEvents): Promise<void> {
  const path = join(set.dir, "manifest.json");
  const manifest = JSON.parse(await Deno.readTextFile(path));
  const { format, name, description, ...rest } = manifest;
  const changed = { format, name, description, calibration: defaultFile, ...rest };
  await writeFileAtomically(path, JSON.stringify(changed, null, 2) + "\n");
  events.onNote?.(`${path}: named ${defaultFile} as its calibration`);
}

async function requireWritable(path: string): Promise<void> {
  const isFolder = await Deno.stat(path).then((info) => info.isDirectory, () => false);
  if (isFolder) throw new Error(`--out ${path}: expected the name of a file, this is a folder`);
  const exists = await Deno.stat(dirname(path)).then((info) => info.isDirectory, () => false);
  if (!exists) throw new Error(`--out ${path}: the folder ${dirname(path)} does not exist`);
}
