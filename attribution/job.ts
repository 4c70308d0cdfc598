/**
 * The main job: images on disk to a table of labels and a report. Checks everything that can be wrong before any work,
 * then streams. It prints nothing: what a command line shows it is told through `JobEvents`.
 */
import { join } from "node:path";
import { type DeviceName, openDevice } from "../core/open_device.ts";
import { type ModelSet, openModelSet, setName } from "../models/model_set.ts";
import {
  levelOf,
  loadCalibration,
  requireCondition,
  requireQuantizer,
  type RuleChoice,
  rulesOf,
} from "./calibration.ts";
import { extrasFor } from "./features/extras.ts";
import { type ConditionName, type EvidenceLine, isUnreadable, type Settings } from "./evidence.ts";
import { type ListedImage, listImages } from "./images/list.ts";
import type { ImageInput } from "./input.ts";
import { Journal, journaled, type Shard } from "./journal/mod.ts";
import { readClassTable, withClasses } from "./likelihood/class_table.ts";
import { defaultInference } from "./likelihood/mod.ts";
import { Models } from "./models.ts";
import { attribute, variantsOf } from "./pipeline.ts";
import { planMemory } from "./plan.ts";
import { Report } from "./report.ts";
import { openQuantizer, type QuantizerName } from "./signals/quantizers.ts";
import { type SignalLevel, signalLevels } from "./signals/table.ts";
import { Submission } from "./submission.ts";
import { defaultMethod, type MethodName, methodOf, requireMethod, type Rules } from "./verdict.ts";

export interface JobOptions {
  /** Files and folders, or images that were listed before. */
  readonly inputs: readonly string[] | readonly ListedImage[];
  /** Folder of the model set. Default: weights/official where it is complete, else weights/tiny. */
  readonly models?: string;
  /** The table of labels. Without a name none is written. */
  readonly out?: string;
  /** Folder for evidence and summary. */
  readonly report?: string;
  /** Use what the report folder has of earlier runs. A journal is always used. */
  readonly resume?: boolean;
  /** File in which everything that is measured is kept, and from which it is recalled (journal/). */
  readonly journal?: string;
  /** Only the images whose content is this shard's. Needs a journal of its own, which merging reads. */
  readonly shard?: Shard;
  readonly device?: DeviceName;
  readonly threads?: number;
  readonly weightType?: "f32" | "f16";
  readonly memoryBytes: number;
  /** Only the first images, in natural order of their names. */
  readonly limit?: number;
  readonly maxPixels?: number;
  readonly method?: MethodName;
  /** Thresholds and signals in place of those that the calibration decides by. */
  readonly rules?: RuleChoice;
  /** Default: the one that the calibration was made with. */
  readonly quantization?: QuantizerName;
  /** Under which classes tokens are scored. Default: `given` with `classes`, else what the method is made for. */
  readonly condition?: ConditionName;
  /** Table of the images' classes, image_name,class. */
  readonly classes?: string;
  /** Signals to measure beyond those that decide. */
  readonly signals?: Exclude<SignalLevel, "baselines">;
  readonly unsureBelow?: number;
  readonly signal?: AbortSignal;
}

export interface JobEvents {
  /** One thing to tell the user before work starts. */
  readonly onNote?: (text: string) => void;
  /** A network is checked or loaded. */
  readonly onPrepare?: (text: string) => void;
  readonly onStart?: (total: number) => void;
  /** An image is done. */
  readonly onLine?: (line: EvidenceLine) => void;
  /** Work done so far, counted in images. */
  readonly onProgress?: (images: number) => void;
}

/** What summary.json holds. */
export interface Summary {
  readonly status: "done" | "interrupted" | "failed";
  readonly images: {
    readonly total: number;
    readonly done: number;
    readonly unreadable: number;
    readonly recalled: number;
  };
  /** Images by label, `unreadable` included. */
  readonly labels: Readonly<Record<string, number>>;
  readonly unsure: number;
  /** The first images that could not be read, and why; evidence.jsonl has all of them. */
  readonly unreadable: readonly { readonly image: string; readonly reason: string; readonly message: string }[];
  readonly modelSet: { readonly name: string; readonly hash: string };
  readonly calibration: string | null;
  readonly method: MethodName;
  /** What the families were decided by. */
  readonly rules: Rules;
  readonly unsureBelow: number;
  readonly settings: Settings;
  readonly device: string;
  /** The limit, the device's peak below it, and the peak of the whole process (resident, as far as it was looked at). */
  readonly memory: { readonly limitBytes: number; readonly devicePeakBytes: number; readonly processPeakBytes: number };
  /** Networks that stayed loaded and those that took turns, and images per pass of the tokenizers. */
  readonly plan: { readonly resident: readonly string[]; readonly swapped: readonly string[]; readonly batch: number };
  readonly started: string;
  /** Seconds from the first image to the last. */
  readonly seconds: number;
}

/** How many unreadable images a summary lists. */
const listedUnreadable = 1000;

/** Images since the run began. */
class Tally {
  done = 0;
  unsure = 0;
  unreadableCount = 0;
  recalled = 0;
  readonly labels: Record<string, number> = {};
  readonly unreadable: { image: string; reason: string; message: string }[] = [];

  add(line: EvidenceLine): void {
    this.done++;
    this.labels[line.label] = (this.labels[line.label] ?? 0) + 1;
    if (!isUnreadable(line)) this.unsure += line.unsure ? 1 : 0;
    else {
      this.unreadableCount++;
      if (this.unreadable.length < listedUnreadable) this.unreadable.push({ image: line.image, ...line.error });
    }
  }
}

/**
 * Runs the job. Throws before any work on anything that is wrong with inputs, weights, settings or outputs; when it fails
 * later, what is done is kept as for an interruption, and the error is thrown.
 */
export async function runJob(options: JobOptions, events: JobEvents = {}): Promise<Summary> {
  const { unsureBelow = 0, weightType = "f32", signal, shard } = options;
  if (shard !== undefined && options.journal === undefined) {
    throw new Error("--shard: expects --journal FILE, a journal of this shard's own");
  }
  let images: readonly ImageInput[] = (await listInputs(options.inputs)).slice(0, options.limit);
  const set = await chooseModels(options.models, events);
  const variants = variantsOf(set);
  if (options.classes !== undefined) {
    images = withClasses(images, options.classes, await readClassTable(options.classes, classesOf(set)));
  }
  await set.check({ onNetwork: (title) => events.onPrepare?.(`checking ${title}`) });
  const { calibration, sha256: calibrationHash } = await loadCalibration(set);
  const rules = rulesOf(calibration, options.rules);
  const method = options.method ?? (isFittedFor(options, rules) ? defaultMethod(rules) : "perplexity");
  requireMethod(method, rules);
  const condition = conditionOf(options, method, rules);
  if (methodOf(method).needs !== undefined) requireCondition(calibration, condition);
  const { extras: own } = methodOf(method);
  const extras = extrasFor(own === undefined ? [] : [own], rules.classifiers);
  const quantization = options.quantization ?? calibration.quantization;
  requireQuantizer(calibration, quantization);
  const level = moreOf(levelOf(rules), options.signals ?? "core");

  await using cleanup = new AsyncDisposableStack();
  const device = await openDevice(options.device ?? "auto", { threads: options.threads });
  cleanup.defer(() => device.close());
  if (device.info.software) events.onNote?.(`using a software adapter: ${device.info.name}`);
  const classes = condition !== "none";
  const plan = planMemory(set, device, { memoryBytes: options.memoryBytes, weightType, classes });
  const settings: Settings = {
    condition,
    summaries: "summaries/1",
    ...condition === "infer" && { inference: inferenceFor(method, rules) },
    ...extras !== undefined && { extras: extras.id },
    quantization,
    signals: level,
    device: device.info.kind,
    weightType,
  };
  const key = { modelSet: set.hash, settings };

  const submission = options.out === undefined ? undefined : await Submission.create(options.out);
  cleanup.defer(() => submission?.discard());
  const journal = options.journal === undefined
    ? undefined
    : Journal.open(options.journal, { exclusive: shard !== undefined });
  cleanup.defer(() => journal?.close());
  const evidence = journal?.evidence(key);
  const report = options.report === undefined
    ? undefined
    : await Report.open(options.report, key, journal === undefined ? options.resume ?? false : "replace");
  cleanup.defer(() => report?.close());
  if (report !== undefined && report.ignored > 0) {
    events.onNote?.(
      `${report.dir}: evidence of ${report.ignored} images is of other weights or settings and is not used`,
    );
  }
  const models = await Models.open(set, device, plan, {
    weightType,
    onLoad: (name) => events.onPrepare?.(`loading ${name}`),
  });
  cleanup.defer(() => models.dispose());
  const rar = await openQuantizer(quantization, models.families.rar);
  cleanup.defer(() => rar.dispose());
  const other = await openQuantizer(quantization, models.families.var);
  cleanup.defer(() => other.dispose());

  const tally = new Tally();
  const started = new Date();
  const start = performance.now();
  let worked = 0;
  let processPeakBytes = 0;
  const summary = (status: Summary["status"]): Summary => ({
    status,
    images: { total: images.length, done: tally.done, unreadable: tally.unreadableCount, recalled: tally.recalled },
    labels: tally.labels,
    unsure: tally.unsure,
    unreadable: tally.unreadable,
    modelSet: { name: setName(set), hash: set.hash },
    calibration: calibrationHash,
    method,
    rules,
    unsureBelow,
    settings,
    device: device.info.name,
    memory: { limitBytes: plan.memoryBytes, devicePeakBytes: device.memory().peakBytes, processPeakBytes },
    plan: { resident: [...plan.resident], swapped: plan.swapped, batch: plan.tokenizerBatch },
    started: started.toISOString(),
    seconds: (performance.now() - start) / 1000,
  });
  events.onStart?.(Math.ceil(images.length / (shard?.count ?? 1)));
  const asked = { ...key, calibration: calibrationHash, method, rules, unsureBelow };
  const names = options.inputs.map((input) => typeof input === "string" ? input : input.path);
  const session = await journal?.begin({ ...asked, inputs: names, limit: options.limit ?? null }, images.length, shard);
  const recall = evidence ? (sha256: string) => Promise.resolve(evidence.recall(sha256)) : report?.recall.bind(report);
  try {
    const attributeImages = (images: Iterable<ImageInput> | AsyncIterable<ImageInput>) =>
      attribute(images, {
        device,
        models,
        plan,
        modelSet: set.hash,
        variants,
        rules,
        calibrationHash,
        settings,
        quantizers: { rar: rar.quantize, var: other.quantize },
        extras,
        method,
        unsureBelow,
        maxPixels: options.maxPixels,
        signal,
        recall: recall && (async (sha256) => {
          const found = await recall(sha256);
          if (found !== undefined) tally.recalled++;
          return found;
        }),
        remember: evidence
          ? ((measured) => Promise.resolve(evidence.remember(measured)))
          : report && ((measured) => report.remember(measured)),
        onWork: (images) => events.onProgress?.(worked += images),
      });
    const stream = journal === undefined ? attributeImages(images) : journaled(images, {
      ...{ journal, evidence: evidence!, session: session!, shard, maxPixels: options.maxPixels },
      attribute: attributeImages,
    });
    for await (const line of stream) {
      tally.add(line);
      processPeakBytes = Math.max(processPeakBytes, Deno.memoryUsage().rss);
      await report?.add(line);
      await submission?.add(line.image, line.label);
      events.onLine?.(line);
    }
  } catch (error) {
    await submission?.finish();
    if (session !== undefined) journal?.end(session, "failed", tally.done);
    await report?.pause(summary("failed"));
    throw error;
  }
  await submission?.finish();
  // Only an interruption leaves images out; how many are a shard's is known when all were read.
  const complete = shard === undefined ? tally.done === images.length : !signal?.aborted;
  if (session !== undefined) journal?.end(session, complete ? "done" : "interrupted", tally.done);
  if (!complete) {
    const result = summary("interrupted");
    await report?.pause(result);
    return result;
  }
  const result = summary("done");
  await report?.finish(result);
  return result;
}

/** Sets that come with the program, or are downloaded to beside it. */
const weightsFolder = join(import.meta.dirname ?? ".", "..", "weights");

/** The set in `dir`; without one weights/official where it is complete, else weights/tiny, telling the user which. */
export async function chooseModels(
  dir: string | undefined,
  { onNote }: Pick<JobEvents, "onNote">,
): Promise<ModelSet> {
  if (dir !== undefined) return await openModelSet(dir);
  const official = join(weightsFolder, "official");
  const isThere = await Deno.stat(join(official, "manifest.json")).then(() => true, () => false);
  if (isThere) {
    try {
      return await openModelSet(official);
    } catch (error) {
      onNote?.(`weights/official cannot be used: ${(error as Error).message.split("\n")[0]}`);
    }
  }
  const set = await openModelSet(join(weightsFolder, "tiny"));
  const reason = isThere ? "" : " (no --models, and weights/official is not there)";
  onNote?.(`using weights/tiny${reason}: ${set.manifest.description ?? "no description"}`);
  return set;
}

/** Whether the calibration's classifiers know likelihoods under the condition that the user asks for, if any. */
function isFittedFor({ condition, classes }: JobOptions, { classifiers }: Rules): boolean {
  const asked = condition ?? (classes === undefined ? undefined : "given");
  return asked === undefined || asked === classifiers?.condition;
}

/** Classes are inferred as they were for what a method was fitted to. */
function inferenceFor(method: MethodName, { classifiers }: Rules) {
  return (methodOf(method).needs === undefined ? undefined : classifiers?.inference) ?? defaultInference;
}

/** The condition that the user asks for, or the method is made for. Throws where it does not fit the table of classes. */
function conditionOf({ condition, classes }: JobOptions, method: MethodName, { classifiers }: Rules): ConditionName {
  const { needs, condition: usual = "none" } = methodOf(method);
  const own = needs !== undefined && classifiers !== undefined ? classifiers.condition : usual;
  const chosen = condition ?? (classes === undefined ? own : "given");
  if (chosen === "given" && classes === undefined) {
    throw new Error("--condition given: expected --classes FILE, a table image_name,class");
  }
  if (chosen !== "given" && classes !== undefined) {
    throw new Error(`--classes: expects --condition given, got ${chosen}`);
  }
  return chosen;
}

/** Classes that all variants know. */
function classesOf({ manifest: { families } }: ModelSet): number {
  const all = [...Object.values(families.rar.variants), ...Object.values(families.var.variants)];
  return Math.min(...all.map(({ config }) => config.classes));
}

async function listInputs(inputs: JobOptions["inputs"]): Promise<readonly ListedImage[]> {
  const [first] = inputs;
  return first === undefined || typeof first === "string"
    ? await listImages(inputs as readonly string[])
    : inputs as readonly ListedImage[];
}

/** The level of two that measures more. */
function moreOf(a: SignalLevel, b: SignalLevel): SignalLevel {
  return signalLevels.indexOf(a) < signalLevels.indexOf(b) ? b : a;
}
