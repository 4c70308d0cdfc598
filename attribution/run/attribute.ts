/**
 * Attributes image files: writes a table of labels (the submission), a report and a journal. All inputs are checked
 * before the first network runs; then images are streamed. It prints nothing; callers follow progress through
 * `AttributeFilesEvents`.
 */
import { type ModelSet, setName } from "../../models/model_set.ts";
import {
  decidingMethods,
  evidenceMethod,
  type MethodName,
  methodOf,
  requireMethod,
  type Rules,
} from "../decision/methods.ts";
import {
  type ConditionName,
  type EvidenceLine,
  type Finding,
  isUnreadable,
  type Settings,
} from "../evidence/evidence.ts";
import { type ListedImage, listImages } from "../images/list.ts";
import type { ImageInput } from "../images/load.ts";
import type { SearchLevel } from "../search/candidates.ts";
import { readClassTable, withClasses } from "../likelihood/class_table.ts";
import { type Choice, choose, measuringOf, openShareOf } from "./choice.ts";
import { chooseModels } from "./choose_models.ts";
import { Journal, measuringVersion, type RunSpec, type Shard } from "./journal/mod.ts";
import { type Beginning, type OpenRun, openRun, type RunEvents, workOf } from "./open_run.ts";
import { attribute } from "./pipeline.ts";
import { isFile } from "../../util/files.ts";
import { similarNamesNote } from "../../util/names.ts";
import { journalIn } from "./report.ts";
import { Submission, type SubmissionColumn } from "./submission.ts";
import type { TracerOptions } from "./tracer.ts";

/** What to attribute, where to write it, and how to decide. */
export interface AttributeFilesOptions extends Omit<TracerOptions, "exclusive"> {
  /** Paths of files and folders, or images that are listed already. */
  readonly inputs: readonly string[] | readonly ListedImage[];
  /** Path of the submission (CSV with image_name and label). Default: none is written. */
  readonly out?: string;
  /** Columns of the submission beside image_name and label. Default: none. */
  readonly columns?: readonly SubmissionColumn[];
  /** Replace a table at `out` that another run has written. Default false: that throws. */
  readonly force?: boolean;
  /** Attribute only the images of this shard. Needs a separate `journal` per shard, which `journal merge` reads. */
  readonly shard?: Shard;
  /** Attribute only so many images, the first ones in natural order of their names. Default: all. */
  readonly limit?: number;
  /** CSV with the class of every image (image_name, class). The condition is then `given`. */
  readonly classes?: string;
}

/** Progress of `attributeFiles`. */
export interface AttributeFilesEvents extends RunEvents {
  /** Called for every image when its line is complete, in the order of the images. */
  readonly onLine?: (line: EvidenceLine) => void;
}

/** What summary.json holds. */
export interface Summary {
  /** `interrupted`: some images were not reached before the signal was aborted. */
  readonly status: "done" | "interrupted" | "failed";
  /** Numbers of images. */
  readonly images: {
    readonly total: number;
    readonly done: number;
    readonly unreadable: number;
    /** Images with evidence in the journal, complete or not. */
    readonly recalled: number;
    /** Images for which a network had to run. */
    readonly computed: number;
    /** Images with rows in the journal that did not match their checksums, measured again. Absent for none. */
    readonly damaged?: number;
  };
  /** Number of images by finding. */
  readonly findings: Readonly<Partial<Record<Finding, number>>>;
  /** Number of images by label, `unreadable` included. */
  readonly labels: Readonly<Record<string, number>>;
  /** Number of verdicts below the confidence `unsureBelow`. */
  readonly unsure: number;
  /** The first 1000 images that could not be read, and why; evidence.jsonl has all of them. */
  readonly unreadable: readonly { readonly image: string; readonly reason: string; readonly message: string }[];
  readonly modelSet: { readonly name: string; readonly hash: string };
  /** sha256 of the calibration file; null without one. */
  readonly calibration: string | null;
  readonly method: MethodName;
  /** How thoroughly images that would be outliers were searched for poses. */
  readonly search: "off" | SearchLevel;
  /** Signals, thresholds and prior of the family decision. */
  readonly rules: Omit<Rules, "labels">;
  readonly unsureBelow: number;
  readonly settings: Settings;
  /** Name of the device; null where everything was recalled, and none was opened. */
  readonly device: string | null;
  /**
   * Bytes: the limit for the device (null for none opened), the device's peak, and the process's peak resident memory,
   * sampled at every image.
   */
  readonly memory: {
    readonly limitBytes: number | null;
    readonly devicePeakBytes: number;
    readonly processPeakBytes: number;
  };
  /**
   * Variants that stay loaded, variants that are loaded in turns, and images per pass of the tokenizers; null where no
   * device was opened.
   */
  readonly plan:
    | { readonly resident: readonly string[]; readonly swapped: readonly string[]; readonly batch: number }
    | null;
  /** ISO 8601. */
  readonly started: string;
  /** Duration without opening the device and loading networks. */
  readonly seconds: number;
}

/** How many unreadable images a summary lists. */
const listedUnreadable = 1000;

/** Counts the lines of a run. */
class Tally {
  done = 0;
  unsure = 0;
  unreadableCount = 0;
  processPeakBytes = 0;
  readonly findings: Partial<Record<Finding, number>> = {};
  readonly labels: Record<string, number> = {};
  readonly unreadable: { image: string; reason: string; message: string }[] = [];
  readonly started = new Date();
  readonly #start = performance.now();

  constructor(readonly total: number) {}

  add(line: EvidenceLine): void {
    this.done++;
    this.labels[line.label] = (this.labels[line.label] ?? 0) + 1;
    this.processPeakBytes = Math.max(this.processPeakBytes, Deno.memoryUsage().rss);
    if (!isUnreadable(line)) {
      this.unsure += line.unsure ? 1 : 0;
      this.findings[line.finding] = (this.findings[line.finding] ?? 0) + 1;
    } else {
      this.unreadableCount++;
      if (this.unreadable.length < listedUnreadable) this.unreadable.push({ image: line.image, ...line.error });
    }
  }

  seconds(): number {
    return (performance.now() - this.#start) / 1000;
  }
}

/**
 * Attributes image files. Wrong inputs, weights, settings and outputs throw before any network runs. An error after
 * that leaves submission, journal and report as an interruption does, with the status `failed`, and is thrown.
 */
export async function attributeFiles(
  options: AttributeFilesOptions,
  events: AttributeFilesEvents = {},
): Promise<Summary> {
  const { signal, shard } = options;
  if (shard !== undefined && options.journal === undefined) {
    throw new Error("--shard: expects --journal FILE, a journal for this shard alone");
  }
  const condition = conditionOf(options);
  let images: readonly ImageInput[] = (await listInputs(options.inputs)).slice(0, options.limit);
  const note = similarNamesNote("images", images.map(({ imageName }) => imageName));
  if (note !== undefined) events.onNote?.(note);
  const set = await chooseModels(options.models, events);
  if (options.classes !== undefined) {
    images = withClasses(images, options.classes, await readClassTable(options.classes, classesOf(set)));
  }
  await expectReplaceable(options);
  await using cleanup = new AsyncDisposableStack();
  const submission = options.out === undefined ? undefined : await Submission.create(options.out, options.columns);
  cleanup.defer(() => submission?.discard());
  const choice = await choose({ ...options, models: set, condition }, events);
  const opening = { ...options, exclusive: shard !== undefined };
  const run = await openRun(set, measuringOf(choice), opening, events, cleanup);
  await run.begin({ images, shard, others: othersOf(choice, options) });

  const tally = new Tally(images.length);
  const { journal, report } = run;
  events.onStart?.(Math.ceil(images.length / (shard?.count ?? 1)));
  const session = await journal?.begin(runSpecOf(choice, run, options), images.length, shard, options.out);
  const finish = async (status: Summary["status"]): Promise<Summary> => {
    await submission?.finish();
    if (session !== undefined) journal?.end(session, status, tally.done);
    const summary = summarise(choice, run, tally, status);
    await report?.finish(summary);
    return summary;
  };
  const { rules, calibration: calibrationHash, method, unsureBelow } = choice;
  const deciding = { ...run.measuring, rules, calibrationHash, method, unsureBelow };
  try {
    const lines = run.lines<EvidenceLine>(images, (inputs) => attribute(inputs, deciding), {
      ...{ shard, onKept: (kept) => journal!.addResults(session!, kept) },
    });
    for await (const line of lines) {
      tally.add(line);
      await submission?.add(line);
      events.onLine?.(line);
    }
  } catch (error) {
    await finish("failed");
    throw error;
  }
  // Without shards, every image has a line unless the run was interrupted. The size of a shard is not known beforehand.
  const isComplete = shard === undefined ? tally.done === images.length : !signal?.aborted;
  return await finish(isComplete ? "done" : "interrupted");
}

/** Throws if there is a table at `out` that no run with this journal has written. */
async function expectReplaceable({ out, force, report, ...options }: AttributeFilesOptions): Promise<void> {
  if (out === undefined || force || !await isFile(out)) return;
  const path = options.journal ?? (report === undefined ? undefined : journalIn(report));
  if (path !== undefined && await isFile(path)) {
    using journal = Journal.open(path, { exclusive: options.shard !== undefined });
    if (journal.hasWritten(out)) return;
  }
  const reason = path === undefined
    ? "this file exists"
    : `this file exists, and no run with the journal ${path} wrote it`;
  throw new Error(`--out ${out}: ${reason}: name another file, or replace it with --force`);
}

/** Everything that the rows of the submission depend on; shards whose specifications differ cannot be merged. */
function runSpecOf(choice: Choice, run: OpenRun, { inputs, limit }: AttributeFilesOptions): RunSpec {
  const { set, method, unsureBelow, calibration, rules } = choice;
  return {
    ...{
      modelSet: set.hash,
      measuring: measuringVersion,
      settings: run.settings,
      calibration,
      method,
      search: searchOf(choice),
      rules: withoutLabels(rules),
      unsureBelow,
    },
    inputs: inputs.map((input) => typeof input === "string" ? input : input.path),
    limit: limit ?? null,
  };
}

function searchOf({ searching }: Choice): "off" | SearchLevel {
  return searching?.level ?? "off";
}

/** Other options under which the same images would cost less, where the user has left the choice. */
function othersOf(choice: Choice, { method, condition }: AttributeFilesOptions): Beginning["others"] {
  const { set, rules, searching } = choice;
  const now = workOf(measuringOf(choice));
  const isUsable = (name: MethodName) => {
    try {
      requireMethod(name, rules);
      return true;
    } catch {
      return false;
    }
  };
  const methods = condition === undefined && method !== evidenceMethod ? decidingMethods().filter(isUsable) : [];
  return [
    ...searching === undefined ? [] : [{ change: "--search off", work: { ...now, search: undefined } }],
    ...methods.filter((name) => name !== choice.method).map((name) => {
      const { condition: usual = "none" } = methodOf(name);
      const openShare = openShareOf(name, set.families.length);
      const change = `--method ${name} (condition ${usual})`;
      return { change, work: { ...now, condition: usual, openShare } };
    }),
  ];
}

function summarise(choice: Choice, run: OpenRun, tally: Tally, status: Summary["status"]): Summary {
  const { opened: { device, plan }, settings, counts } = run;
  const { set, method, unsureBelow, calibration, rules } = choice;
  const { total, done, unreadableCount, findings, labels, unsure, unreadable, processPeakBytes, started } = tally;
  return {
    status,
    images: { total, done, unreadable: unreadableCount, ...counts },
    findings,
    labels,
    unsure,
    unreadable,
    modelSet: { name: setName(set), hash: set.hash },
    calibration,
    method,
    search: searchOf(choice),
    rules: withoutLabels(rules),
    unsureBelow,
    settings,
    device: device?.info.name ?? null,
    memory: {
      limitBytes: plan?.memoryBytes ?? null,
      devicePeakBytes: device?.memory().peakBytes ?? 0,
      processPeakBytes,
    },
    plan: plan === undefined
      ? null
      : { resident: [...plan.resident], swapped: plan.swapped, batch: plan.tokenizerBatch },
    started: started.toISOString(),
    seconds: tally.seconds(),
  };
}

function withoutLabels({ labels: _, ...rules }: Rules): Omit<Rules, "labels"> {
  return rules;
}

/** The condition by the options. `given` and a table of classes need each other; throws for one without the other. */
function conditionOf({ condition, classes }: AttributeFilesOptions): ConditionName | undefined {
  const chosen = condition ?? (classes === undefined ? undefined : "given");
  if (chosen === "given" && classes === undefined) {
    throw new Error("--condition given: expected --classes FILE, a table image_name,class");
  }
  if (chosen !== "given" && classes !== undefined) {
    throw new Error(`--classes: expects --condition given, got ${chosen}`);
  }
  return chosen;
}

/** Number of classes that every variant has. */
function classesOf(set: ModelSet): number {
  const variants = set.families.flatMap((family) => set.variants(family));
  return Math.min(...variants.map((variant) => set.variantFacts(variant).classes));
}

/** The images of inputs, those of folders and all below them included. Throws as `listImages` does. */
export async function listInputs(inputs: AttributeFilesOptions["inputs"]): Promise<readonly ListedImage[]> {
  const [first] = inputs;
  return first === undefined || typeof first === "string"
    ? await listImages(inputs as readonly string[])
    : inputs as readonly ListedImage[];
}
