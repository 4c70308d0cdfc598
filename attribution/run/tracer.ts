/**
 * The public object: a model set, opened once, that says of images which of its models made them. The command line, the
 * service and programs of others use it alike.
 *
 * It decides what to measure and by which method; opening devices and networks is open_run.ts, the stream is pipeline.ts.
 */
import { basename } from "node:path";
import type { FamilyName } from "../../models/family.ts";
import { type ModelSet, setName } from "../../models/model_set.ts";
import {
  levelOf,
  loadCalibration,
  requireCondition,
  requireQuantizer,
  type RuleChoice,
  rulesOf,
} from "../decision/calibration_file.ts";
import { extrasFor } from "../decision/extras.ts";
import { defaultMethod, type MethodName, methodOf, requireMethod, type Rules } from "../decision/methods.ts";
import type { ConditionName, EvidenceLine, Settings } from "../evidence/evidence.ts";
import type { RgbImage } from "../images/image.ts";
import type { ImageInput } from "../images/load.ts";
import { type Labels, labelsOf } from "../labels.ts";
import type { QuantizerName } from "../quantisation/quantizers.ts";
import { type SignalLevel, signalLevels } from "../signals/table.ts";
import { chooseModels } from "./choose_models.ts";
import type { JournaledLine, Shard } from "./journal/mod.ts";
import { type Observer, type OpenRun, openRun, type RunEvents, type RunOptions } from "./open_run.ts";
import { attribute } from "./pipeline.ts";

/** How a tracer is opened. Everything has a default. */
export interface TracerOptions extends RunOptions {
  /** The model set, or its folder. Default: weights/official where it is complete, else the embedded weights/tiny. */
  readonly models?: string | ModelSet;
  /** How to decide. Default: the best method that the set is calibrated for. */
  readonly method?: MethodName;
  /** Thresholds, signals and prior in place of the calibration's own. */
  readonly rules?: RuleChoice;
  /** Default: the quantiser that the calibration was made with. */
  readonly quantization?: QuantizerName;
  /** Under which classes tokens are scored. Default: what the method is made for. `given` needs images with classes. */
  readonly condition?: ConditionName;
  /** Signals to measure beyond those that decide. */
  readonly signals?: Exclude<SignalLevel, "baselines">;
  /** Verdicts below this confidence are marked `unsure`, 0 to 1. Default 0: none. */
  readonly unsureBelow?: number;
  /** Take the journal for this process alone. */
  readonly exclusive?: boolean;
  /**
   * Sees intermediate results.
   *
   * @internal
   */
  readonly observer?: Observer;
}

/** Pixels or a file's bytes with a name for the results. */
export interface NamedImage {
  /** For the results. */
  readonly name: string;
  /** A file's bytes, or decoded pixels. */
  readonly image: Uint8Array | Blob | RgbImage;
}

/** An image: the path or file URL of a file, its bytes, a Blob or File, decoded pixels, or one of those with a name. */
export type ImageSource = string | URL | Uint8Array | Blob | RgbImage | NamedImage | ImageInput;

/** What is known of a tracer once it is open. */
export interface TracerInfo {
  /** The set's name, the hash that identifies its networks, and its description. */
  readonly modelSet: { readonly name: string; readonly hash: string; readonly description: string | null };
  /** Variants by family. */
  readonly variants: Readonly<Record<FamilyName, readonly string[]>>;
  /** Everything that an image can be said to be. */
  readonly labels: readonly string[];
  /** sha256 of the calibration file; null without one. */
  readonly calibration: string | null;
  /** The method that decides. */
  readonly method: MethodName;
  /** What the numbers depend on beside image and weights. */
  readonly settings: Settings;
  /** The device that computes. */
  readonly device: { readonly kind: "cpu" | "webgpu"; readonly name: string; readonly software: boolean };
  /** Sides of the squares that images are resized to. */
  readonly imageSizes: readonly number[];
  /** Images per pass. */
  readonly maxBatch: number;
  /** Limit for weights and activations. */
  readonly memoryBytes: number;
}

/** How a series of images is attributed. */
export interface AttributeOptions {
  /** Once aborted, the pass in progress is finished, what is complete comes out, and the stream ends. */
  readonly signal?: AbortSignal;
  /** Receives the work done since the last call, counted in images. */
  readonly onWork?: (images: number) => void;
  /**
   * Only the images of this shard; needs a journal.
   *
   * @internal
   */
  readonly shard?: Shard;
  /**
   * Receives lines whose evidence is in the journal, some at a time.
   *
   * @internal
   */
  readonly onKept?: (lines: readonly JournaledLine<EvidenceLine>[]) => void;
}

/** What decides, and what must be measured for it. */
interface Choice {
  readonly set: ModelSet;
  readonly labels: Labels;
  readonly rules: Rules;
  readonly calibration: string | null;
  readonly method: MethodName;
  readonly condition: ConditionName;
  readonly quantization: QuantizerName;
  readonly signals: SignalLevel;
}

/**
 * Says which model made an image.
 *
 * @example
 * ```ts
 * import { Tracer } from "@model-tracer/model-tracer";
 *
 * await using tracer = await Tracer.open({ device: "cpu" });
 * for await (const verdict of tracer.attribute(["examples/Dataset/test/0001.png"])) {
 *   console.log(verdict.image, verdict.label);
 * }
 * ```
 */
export class Tracer implements AsyncDisposable {
  /** What is known of it. */
  readonly info: TracerInfo;
  /** Everything that an image can be said to be. */
  readonly labels: Labels;
  /** What the method decides by. */
  readonly rules: Rules;
  /**
   * Device, plan, journal and networks: for reports about the run.
   *
   * @internal
   */
  readonly run: OpenRun;
  readonly #unsureBelow: number;
  readonly #cleanup: AsyncDisposableStack;
  #isBusy = false;
  /** Lines that came out so far. */
  #lines = 0;

  private constructor(choice: Choice, run: OpenRun, unsureBelow: number, cleanup: AsyncDisposableStack) {
    const { set, labels, rules, method } = choice;
    this.labels = labels;
    this.rules = rules;
    this.run = run;
    this.#unsureBelow = unsureBelow;
    this.#cleanup = cleanup;
    const { info } = run.device;
    this.info = {
      modelSet: { name: setName(set), hash: set.hash, description: set.manifest.description ?? null },
      variants: labels.variants,
      labels: labels.all,
      calibration: choice.calibration,
      method,
      settings: run.settings,
      device: { kind: info.kind, name: info.name, software: info.software },
      imageSizes: [...new Set(set.families.map((family) => set.tokenizerFacts(family).imageSize))],
      maxBatch: run.plan.tokenizerBatch,
      memoryBytes: run.plan.memoryBytes,
    };
  }

  /**
   * Checks weights, calibration and settings, then opens the device and loads the networks. `onNote` hears what a user
   * should know, `onPrepare` what is being checked or loaded.
   *
   * Throws before any image is read, leaving nothing open: a RangeError for unknown methods and values out of range, and a
   * ModelSetError, CalibrationError, MemoryLimitError or DeviceError that says what to do.
   */
  static async open(options: TracerOptions = {}, events: RunEvents = {}): Promise<Tracer> {
    const choice = await choose(options, events);
    const { quantization, signals, condition, method, rules } = choice;
    const { extras, needs } = methodOf(method);
    const scoring = {
      condition,
      // As they were for what the method was fitted to.
      inference: needs === undefined ? undefined : rules.classifiers?.inference,
      extras: extrasFor(extras === undefined ? [] : [extras], rules.classifiers),
    };
    await using cleanup = new AsyncDisposableStack();
    const run = await openRun(choice.set, { quantization, signals, scoring }, options, events, cleanup);
    return new Tracer(choice, run, options.unsureBelow ?? 0, cleanup.move());
  }

  /**
   * Attributes images: a line per image in their order, with verdict and evidence, or `unreadable` and the reason. Images
   * are read as they are needed. Calls must not overlap; the second one throws.
   */
  async *attribute(
    images: Iterable<ImageSource> | AsyncIterable<ImageSource>,
    { signal, onWork, shard, onKept }: AttributeOptions = {},
  ): AsyncGenerator<EvidenceLine, void, void> {
    if (this.#isBusy) {
      throw new Error("attribute: expected the call before to have ended; a tracer works on one at a time");
    }
    this.#isBusy = true;
    const { measuring } = this.run;
    const options = {
      ...measuring,
      signal: signal ?? measuring.signal,
      onWork: (share: number) => {
        measuring.onWork?.(share);
        onWork?.(share);
      },
      rules: this.rules,
      calibrationHash: this.info.calibration,
      method: this.info.method,
      unsureBelow: this.#unsureBelow,
    };
    try {
      const lines = this.run.lines(toInputs(images), (inputs) => attribute(inputs, options), { shard, onKept });
      for await (const line of lines) {
        this.#lines++;
        yield line;
      }
    } finally {
      this.#isBusy = false;
    }
  }

  /** Frees the networks and closes the device, the journal and the report. */
  async [Symbol.asyncDispose](): Promise<void> {
    const { report } = this.run;
    if (report?.isOpen && this.#lines > 0) {
      const summary = { status: "done", images: this.#lines, ...this.info } as const;
      await report.finish(summary);
    }
    await this.#cleanup.disposeAsync();
  }
}

/** What decides and what must be measured, by the options and the calibration. Throws on anything that does not fit. */
async function choose(options: TracerOptions, events: RunEvents): Promise<Choice> {
  const { unsureBelow = 0 } = options;
  if (!(unsureBelow >= 0 && unsureBelow <= 1)) {
    throw new RangeError(`unsureBelow: expected a confidence from 0 to 1, got ${unsureBelow}`);
  }
  const set = await chooseModels(options.models, events);
  await set.check({ onNetwork: (title) => events.onPrepare?.(`checking ${title}`) });
  const labels = labelsOf(set);
  const { calibration, sha256 } = await loadCalibration(set);
  const rules = rulesOf(calibration, labels, options.rules);
  // Without a method, one whose classifiers know likelihoods under the condition that is asked for.
  const isFitted = options.condition === undefined || options.condition === rules.classifiers?.condition;
  const method = options.method ?? (isFitted ? defaultMethod(rules) : "perplexity");
  requireMethod(method, rules);
  const { needs, condition: usual = "none" } = methodOf(method);
  const condition = options.condition ?? (needs === undefined ? usual : rules.classifiers?.condition ?? usual);
  if (needs !== undefined) requireCondition(calibration, condition);
  const quantization = options.quantization ?? calibration.quantization;
  requireQuantizer(calibration, quantization);
  const signals = moreOf(levelOf(rules), options.signals ?? "core");
  return { set, labels, rules, calibration: sha256, method, condition, quantization, signals };
}

/** The level of two that measures more. */
function moreOf(a: SignalLevel, b: SignalLevel): SignalLevel {
  return signalLevels.indexOf(a) < signalLevels.indexOf(b) ? b : a;
}

/** Sources as the pipeline takes them; those without a name are called by their place. */
async function* toInputs(
  sources: Iterable<ImageSource> | AsyncIterable<ImageSource>,
): AsyncGenerator<ImageInput, void, void> {
  let place = 0;
  for await (const source of sources) yield await toInput(source, `image-${++place}`);
}

async function toInput(source: ImageSource, imageName: string): Promise<ImageInput> {
  if (typeof source === "string") return { imageName: basename(source), path: source };
  if (source instanceof URL) {
    if (source.protocol !== "file:") throw new TypeError(`attribute: expected a file URL, got ${source}`);
    const path = decodeURIComponent(source.pathname);
    return { imageName: basename(path), path };
  }
  if (source instanceof Uint8Array) return { imageName, bytes: unshared(source) };
  if (source instanceof Blob) {
    return { imageName: source instanceof File ? source.name : imageName, bytes: await source.bytes() };
  }
  if ("imageName" in source) return source;
  if ("name" in source) return { ...await toInput(source.image, imageName), imageName: source.name };
  const { width, height, data } = source;
  if (data.length === width * height * 3) return { imageName, image: source };
  throw new TypeError(
    `attribute: expected ${width} x ${height} x 3 bytes of ${imageName}, got ${data.length}: pixels are RGB without alpha`,
  );
}

/** Bytes that no other thread can change. */
function unshared(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return bytes.buffer instanceof ArrayBuffer ? bytes as Uint8Array<ArrayBuffer> : Uint8Array.from(bytes);
}
