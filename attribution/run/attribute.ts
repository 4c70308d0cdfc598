/**
 * The main job: image files to a table of labels and a report. Checks everything that can be wrong before any work, then
 * streams. It prints nothing: what a command line shows it is told through `JobEvents`.
 */
import { type ModelSet, setName } from "../../models/model_set.ts";
import type { MethodName, Rules } from "../decision/methods.ts";
import { type ConditionName, type EvidenceLine, isUnreadable, type Settings } from "../evidence/evidence.ts";
import { type ListedImage, listImages } from "../images/list.ts";
import type { ImageInput } from "../images/load.ts";
import { readClassTable, withClasses } from "../likelihood/class_table.ts";
import { chooseModels } from "./choose_models.ts";
import type { Shard } from "./journal/mod.ts";
import type { RunEvents } from "./open_run.ts";
import { Submission } from "./submission.ts";
import { Tracer, type TracerOptions } from "./tracer.ts";

export interface JobOptions extends Omit<TracerOptions, "exclusive"> {
  /** Files and folders, or images that were listed before. */
  readonly inputs: readonly string[] | readonly ListedImage[];
  /** The table of labels. Without a name none is written. */
  readonly out?: string;
  /** Only the images whose content is this shard's. Needs a journal of its own, which merging reads. */
  readonly shard?: Shard;
  /** Only the first images, in natural order of their names. */
  readonly limit?: number;
  /** Table of the images' classes, image_name,class; the condition is `given` then. */
  readonly classes?: string;
}

export interface JobEvents extends RunEvents {
  /** An image is done. */
  readonly onLine?: (line: EvidenceLine) => void;
}

/** What summary.json holds. */
export interface Summary {
  readonly status: "done" | "interrupted" | "failed";
  readonly images: {
    readonly total: number;
    readonly done: number;
    readonly unreadable: number;
    /** Of which something was in the journal, and for which a network had to run. */
    readonly recalled: number;
    readonly computed: number;
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
  readonly rules: Omit<Rules, "labels">;
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
  const { unsureBelow = 0, signal, shard } = options;
  if (shard !== undefined && options.journal === undefined) {
    throw new Error("--shard: expects --journal FILE, a journal of this shard's own");
  }
  const condition = conditionOf(options);
  let images: readonly ImageInput[] = (await listInputs(options.inputs)).slice(0, options.limit);
  const set = await chooseModels(options.models, events);
  if (options.classes !== undefined) {
    images = withClasses(images, options.classes, await readClassTable(options.classes, classesOf(set)));
  }
  await using cleanup = new AsyncDisposableStack();
  const submission = options.out === undefined ? undefined : await Submission.create(options.out);
  cleanup.defer(() => submission?.discard());
  const tracer = await Tracer.open({ ...options, models: set, condition, exclusive: shard !== undefined }, events);
  cleanup.use(tracer);
  const { device, plan, settings, journal, report, counts } = tracer.run;
  const { method, calibration } = tracer.info;
  const { labels: _, ...rules } = tracer.rules;

  const tally = new Tally();
  const started = new Date();
  const start = performance.now();
  let processPeakBytes = 0;
  const summary = (status: Summary["status"]): Summary => ({
    status,
    images: { total: images.length, done: tally.done, unreadable: tally.unreadableCount, ...counts },
    labels: tally.labels,
    unsure: tally.unsure,
    unreadable: tally.unreadable,
    modelSet: { name: setName(set), hash: set.hash },
    calibration,
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
  const asked = { modelSet: set.hash, settings, calibration, method, rules, unsureBelow };
  const names = options.inputs.map((input) => typeof input === "string" ? input : input.path);
  const session = await journal?.begin({ ...asked, inputs: names, limit: options.limit ?? null }, images.length, shard);
  try {
    const lines = tracer.attribute(images, { shard, onKept: (kept) => journal!.addResults(session!, kept) });
    for await (const line of lines) {
      tally.add(line);
      processPeakBytes = Math.max(processPeakBytes, Deno.memoryUsage().rss);
      await submission?.add(line.image, line.label);
      events.onLine?.(line);
    }
  } catch (error) {
    await submission?.finish();
    if (session !== undefined) journal?.end(session, "failed", tally.done);
    await report?.finish(summary("failed"));
    throw error;
  }
  await submission?.finish();
  // Only an interruption leaves images out; how many are a shard's is known when all were read.
  const complete = shard === undefined ? tally.done === images.length : !signal?.aborted;
  if (session !== undefined) journal?.end(session, complete ? "done" : "interrupted", tally.done);
  const result = summary(complete ? "done" : "interrupted");
  await report?.finish(result);
  return result;
}

/** The condition that is asked for. Throws where it does not fit the table of classes. */
function conditionOf({ condition, classes }: JobOptions): ConditionName | undefined {
  const chosen = condition ?? (classes === undefined ? undefined : "given");
  if (chosen === "given" && classes === undefined) {
    throw new Error("--condition given: expected --classes FILE, a table image_name,class");
  }
  if (chosen !== "given" && classes !== undefined) {
    throw new Error(`--classes: expects --condition given, got ${chosen}`);
  }
  return chosen;
}

/** Classes that all variants know. */
function classesOf(set: ModelSet): number {
  const variants = set.families.flatMap((family) => set.variants(family));
  return Math.min(...variants.map((variant) => set.variantFacts(variant).classes));
}

async function listInputs(inputs: JobOptions["inputs"]): Promise<readonly ListedImage[]> {
  const [first] = inputs;
  return first === undefined || typeof first === "string"
    ? await listImages(inputs as readonly string[])
    : inputs as readonly ListedImage[];
}
