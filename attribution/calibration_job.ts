/**
 * Calibration of a model set from label folders: measures train and val with a journal, fits, and writes the set's file.
 * Checks everything that can be wrong before any work. It prints nothing; what is fitted and how is calibration_fit.ts.
 */
import { dirname, join } from "node:path";
import { parseJson, sha256Hex } from "../models/manifest.ts";
import type { ModelSet } from "../models/model_set.ts";
import * as v from "valibot";
import { type Calibration, calibrationFormat, type DataSummary } from "./calibration.ts";
import { type Fit, fitCalibration, type FitOptions, type Labelled, requireFittable } from "./calibration_fit.ts";
import { countLabels, type LabelledImage, limitPerLabel, listLabelFolders } from "./evaluation/labelled.ts";
import { gatherLines, type TokenizerRunEvents, type TokenizerRunOptions } from "./evaluation/tokenizer_run.ts";
import { type MeasuredLine } from "./evidence.ts";
import { writeFileAtomically } from "./files.ts";
import { chooseModels } from "./job.ts";
import type { SignalLevel } from "./signals/table.ts";

export interface CalibrationOptions extends Omit<TokenizerRunOptions, "signals"> {
  /** Label folders. */
  readonly train: string;
  readonly val: string;
  readonly models?: string;
  /** Default: the file that the manifest names; where it names none, calibration.json, which it then does. */
  readonly out?: string;
  readonly signals?: Exclude<SignalLevel, "baselines">;
  readonly limitPerLabel?: number;
  readonly fit?: FitOptions;
}

export interface CalibrationResult {
  readonly status: "done" | "interrupted";
  readonly modelSet: { readonly dir: string; readonly hash: string };
  /** Images that could not be read and were left out. */
  readonly unreadable: readonly string[];
  /** Set when it is done. */
  readonly path?: string;
  readonly calibration?: Calibration;
  readonly fit?: Fit;
}

/** Runs the job. Throws before any work on wrong folders, weights, outputs, and on data that cannot be fitted. */
export async function runCalibration(
  options: CalibrationOptions,
  events: TokenizerRunEvents = {},
): Promise<CalibrationResult> {
  const limited = (images: LabelledImage[]) =>
    options.limitPerLabel === undefined ? images : limitPerLabel(images, options.limitPerLabel);
  const train = limited(await listLabelFolders("--train", options.train));
  const val = limited(await listLabelFolders("--val", options.val));
  requireFittable(train, val, options.fit);
  const set = await chooseModels(options.models, events);
  const path = options.out ?? join(set.dir, set.manifest.calibration ?? defaultFile);
  await requireWritable(path);
  await set.check({ onNetwork: (title) => events.onPrepare?.(`checking ${title}`) });

  const images = [...train.map((image) => named("train", image)), ...val.map((image) => named("val", image))];
  const unreadable: string[] = [];
  const { run, lines } = await gatherLines(set, images, { ...options, signals: options.signals ?? "all" }, {
    ...events,
    onLine: (line, index) => {
      if ("error" in line) unreadable.push(line.image);
      events.onLine?.(line, index);
    },
  });
  const modelSet = { dir: set.dir, hash: set.hash };
  if (!run.done) return { status: "interrupted", modelSet, unreadable };

  const measured = images.flatMap(({ label }, i) => lines[i] === undefined ? [] : [{ label, line: lines[i], i }]);
  const [own, held] = [measured.filter(({ i }) => i < train.length), measured.filter(({ i }) => i >= train.length)];
  noteTwins(own, held, events);
  const labelled = (items: typeof measured): Labelled[] =>
    items.map(({ label, line }) => ({ label, families: line.families }));
  const fit = fitCalibration(labelled(own), labelled(held), options.fit);
  const calibration: Calibration = {
    format: calibrationFormat,
    modelSet: set.hash,
    quantization: options.quantization,
    data: { train: await summarise(own), val: await summarise(held) },
    decision: fit.decision,
    families: fit.families,
    oneClass: fit.oneClass,
    variants: { scale: await formerScale(path, set) },
  };
  await writeFileAtomically(path, JSON.stringify(calibration, null, 2) + "\n");
  if (options.out === undefined && set.manifest.calibration === undefined) await nameInManifest(set, events);
  return { status: "done", modelSet, unreadable, path, calibration, fit };
}

const defaultFile = "calibration.json";

function named(part: string, image: LabelledImage): LabelledImage {
  return { ...image, imageName: `${part}/${image.imageName}` };
}

/** Images that are in both sets flatter every number that is taken on val. */
function noteTwins(
  train: readonly { line: MeasuredLine }[],
  val: readonly { line: MeasuredLine }[],
  events: TokenizerRunEvents,
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
): Promise<DataSummary> {
  return {
    fingerprint: await dataFingerprint(items.map(({ label, line }) => ({ label, sha256: line.sha256 }))),
    images: items.length,
    labels: countLabels(items) as Record<string, number>,
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
async function nameInManifest(set: ModelSet, events: TokenizerRunEvents): Promise<void> {
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
