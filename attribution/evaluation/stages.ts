/**
 * The stages of an evaluation that measure: verdicts on the images, on processed copies of them, comparison of methods,
 * baselines. run_evaluation.ts runs them in order.
 */
import { join } from "node:path";
import type { ModelSet } from "../../models/model_set.ts";
import type { TransformName } from "../images/augment/mod.ts";
import type { Calibration, Rules } from "../decision/calibration_file.ts";
import { dataFingerprint } from "../calibration/calibrate.ts";
import { isUnreadable } from "../evidence/evidence.ts";
import { attributeFiles, type AttributeFilesOptions, type Summary } from "../run/attribute.ts";
import type { Label } from "../labels.ts";
import type { QuantizerName } from "../quantisation/quantizers.ts";
import type { Judged } from "./evaluate.ts";
import type { Processing } from "../images/edits/mod.ts";
import { UnreadableImageError } from "../images/image.ts";
import type { Folders, LabelledImage } from "../images/labelled.ts";
import { readContent, storedImage } from "../images/load.ts";
import { writePng } from "../images/png.ts";
import { sniff } from "../images/sniff.ts";
import { extrasFor } from "../decision/extras.ts";
import { gatherLines, type MeasuringEvents } from "../run/measure_images.ts";
import { type JudgedVerdict, judgedVerdict } from "./judged.ts";
import { compareMethods, extrasOf, knownMethods, type MethodResult } from "./methods.ts";
import type { Copy } from "./processing.ts";
import { attackedImages, type RobustnessPoint, robustnessPoint } from "./robustness.ts";
import type { FileLook } from "./zero_pixels.ts";

/** What to evaluate, and how. */
export interface EvaluationOptions extends Omit<AttributeFilesOptions, "inputs" | "out" | "report" | "limit"> {
  /** Folder with a folder of images per label; with `labels`, any folder of images. */
  readonly val: Folders;
  /** CSV with image_name and label, and optionally source and picture. Default: labels are the names of folders. */
  readonly labels?: Folders;
  /** Folder for the report, and for the journal unless `journal` names another file. */
  readonly report: string;
  /** Evaluate only so many images of every label. Default: all. */
  readonly limitPerLabel?: number;
  /** Evaluate after these processings, too. Default: only the images as they are stored. */
  readonly processing?: readonly Processing[];
  /**
   * Sources of outliers that went through a family's tokenizer, such as other transformers on it, whose right finding is
   * `family`. Figures without them are given as well. Default: none.
   */
  readonly strangers?: readonly string[];
  /** A Markdown document whose part between two marks becomes the tables of limits.md (limits_document.ts). */
  readonly limits?: string;
  /** Compare verdicts with those after so many light changes. Default 0: none. */
  readonly stability?: number;
  /** Evaluate on images under the reference's attacks, too: all of them, or these. Default false. */
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
  /** Called when a stage begins: `verdicts`, `processing`, `stability`, `methods`, `robustness`,
   * `baselines` or `report`. */
  readonly onStage?: (name: string) => void;
}

/** What the stages of an evaluation share. */
export interface Context {
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
export class Interrupted extends Error {}

/** Counts the computed images of a finished run. Throws `Interrupted` for a run that was not finished. */
function requireDone(
  { status, images }: { readonly status: string; readonly images: { readonly computed: number } },
  context: Context,
): void {
  if (status !== "done") throw new Interrupted();
  context.computed += images.computed;
}

/** Attributes the images. Returns verdicts, what files look like, and the fingerprint of the labelled data. */
export async function judgeImages(context: Context): Promise<{
  readonly judged: readonly Judged[];
  readonly files: readonly FileLook[];
  readonly fingerprint: string;
  readonly summary: Summary;
}> {
  const { options, events, images, shared, unreadable } = context;
  const byName = new Map(images.map((image) => [image.imageName, image]));
  const judged: Judged[] = [];
  const looks: Omit<FileLook, "bytes">[] = [];
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
      if (isUnreadable(line)) {
        unreadable.push({ image: line.image, message: line.error.message });
        return;
      }
      const image = byName.get(line.image)!;
      const { label, source, picture = line.image } = image;
      const { families, sha256, width, height, facts } = line;
      contents.push({ label, sha256 });
      judged.push({ ...judgedVerdict(image, line), families });
      looks.push({ format: facts?.file?.format ?? "unknown", width, height, label, source, picture });
    },
  });
  requireDone(summary, context);
  if (judged.length === 0) {
    throw new Error(`--val ${options.val}: none of ${images.length} images can be read: ${unreadable[0].message}`);
  }
  const files = await Promise.all(
    looks.map(async (look, i) => ({ ...look, bytes: (await Deno.stat(byName.get(judged[i].image)!.path)).size })),
  );
  return { judged, files, fingerprint: await dataFingerprint(contents), summary };
}

/** The images that could be read. */
export function readableImages({ images, unreadable }: Context): readonly LabelledImage[] {
  const left = new Set(unreadable.map(({ image }) => image));
  return images.filter(({ imageName }) => !left.has(imageName));
}

/**
 * Attributes copies and returns their verdicts by group. Evidence goes to the given folder of the report. Copies that
 * cannot be read, such as those that became too large, are left out.
 */
export async function judgeCopies(
  copies: readonly Copy[],
  folder: string,
  context: Context,
): Promise<Map<string, JudgedVerdict[]>> {
  const { options, events, shared } = context;
  const verdicts = new Map<string, JudgedVerdict[]>();
  let index = 0;
  const summary = await attributeFiles({
    ...shared,
    inputs: copies.map(({ input }) => input),
    report: join(options.report, folder),
  }, {
    ...events,
    onLine: (line) => {
      events.onLine?.(line, index);
      const { group, original } = copies[index++];
      if (isUnreadable(line)) return;
      const known = verdicts.get(group);
      const verdict = judgedVerdict(original, line);
      if (known === undefined) verdicts.set(group, [verdict]);
      else known.push(verdict);
    },
  });
  requireDone(summary, context);
  return verdicts;
}

/**
 * What the files of copies would look like, by group: those that processing wrote last, and PNG files where it wrote
 * none. Copies that cannot be read are left out.
 */
export async function copyLooks(
  copies: readonly Copy[],
  { options: { signal, maxPixels } }: Context,
): Promise<Map<string, FileLook[]>> {
  const looks = new Map<string, FileLook[]>();
  for (const { input, original, group } of copies) {
    if (signal?.aborted) throw new Interrupted();
    const { label, source, picture = original.imageName } = original;
    try {
      const { bytes: stored } = await readContent(input, maxPixels);
      const { image, bytes = writePng(image) } = await storedImage(input, stored, maxPixels);
      const { format, width, height } = sniff(bytes);
      const look = { format, width, height, bytes: bytes.length, label, source, picture };
      const known = looks.get(group);
      if (known === undefined) looks.set(group, [look]);
      else known.push(look);
    } catch (error) {
      if (!(error instanceof UnreadableImageError)) throw error;
    }
  }
  return looks;
}

/** Compares all methods that the calibration allows on the images that were judged. */
export async function compareOn(judged: readonly Judged[], context: Context): Promise<MethodResult[]> {
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
  const measured = lines.flatMap((line, i) =>
    line === undefined ? [] : [{ label: judged[i].label, picture: judged[i].picture, line }]
  );
  return compareMethods(measured, rules, names, { seed, resamples });
}

/** Judges the readable images under the reference's attacks. Points without images are left out. */
export async function attackImages(context: Context): Promise<RobustnessPoint[]> {
  const { options, rules } = context;
  const { robustness, seed = 0, resamples = 1000 } = options;
  const attacks = typeof robustness === "object" ? robustness : undefined;
  const copies = attackedImages(readableImages(context), seed, attacks).map((input): Copy => ({
    input,
    original: input.original,
    group: `${input.augmentation.name}/${input.augmentation.strength}`,
  }));
  const verdicts = await judgeCopies(copies, "robustness", context);
  return [...verdicts].map(([group, items]) => {
    const [name, strength] = group.split("/");
    return robustnessPoint(name as TransformName, Number(strength), items, {
      labels: rules.labels,
      bootstrap: { seed, resamples },
    });
  });
}

/** Measures the signals of the level `baselines` of the images that were judged. */
export async function addBaselines(judged: readonly Judged[], context: Context): Promise<Judged[]> {
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
