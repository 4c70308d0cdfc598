/**
 * `Tracer`, the public object: an open model set that attributes images. The command line, the service and other
 * programs all use it. This file chooses what to measure and by which method to decide; open_run.ts opens the device
 * and the networks, and pipeline.ts streams the images through them.
 */
import { basename } from "node:path";
import type { FamilyName } from "../../models/family.ts";
import { type ModelSet, setName } from "../../models/model_set.ts";
import type { Calibration, RuleChoice } from "../decision/calibration_file.ts";
import type { MethodName, Rules } from "../decision/methods.ts";
import type { ConditionName, EvidenceLine, Settings } from "../evidence/evidence.ts";
import type { ImageDecoder } from "../images/decoder/mod.ts";
import type { RgbImage } from "../images/image.ts";
import type { ImageInput } from "../images/load.ts";
import type { Labels } from "../labels.ts";
import type { QuantizerName } from "../quantisation/quantizers.ts";
import type { SearchLevel } from "../search/candidates.ts";
import type { SignalLevel } from "../signals/table.ts";
import { type Choice, choose, measuringOf } from "./choice.ts";
import { type Observer, type OpenRun, openRun, type RunEvents, type RunOptions } from "./open_run.ts";
import { attribute } from "./pipeline.ts";

/**
 * Options of `Tracer.open`. All have defaults.
 *
 * @example
 * ```ts
 * import { type TracerOptions } from "@model-tracer/model-tracer";
 *
 * const options: TracerOptions = {
 *   models: "weights/tiny",
 *   method: "two-stage",
 *   memoryBytes: 2 * 2 ** 30,
 *   unsureBelow: 0.5,
 * };
 * console.log(options.method); // for Tracer.open(options)
 * ```
 */
export interface TracerOptions extends RunOptions {
  /** The model set, or its folder. Default: weights/official where it is complete, else the embedded weights/tiny. */
  readonly models?: string | ModelSet;
  /** The decision method. Default: the best one that the set is calibrated for. */
  readonly method?: MethodName;
  /** Thresholds, signals and prior that replace those of the calibration. */
  readonly rules?: RuleChoice;
  /** How latents are quantised. Default, and required by most calibrations: the quantiser of the calibration. */
  readonly quantization?: QuantizerName;
  /**
   * The class condition under which tokens are scored. Default: that of the method. `given` needs images with classes.
   */
  readonly condition?: ConditionName;
  /** Signals to measure in addition to those that the decision uses. */
  readonly signals?: Exclude<SignalLevel, "baselines">;
  /**
   * How thoroughly images that would be outliers are searched for poses: mirrored, turned, cropped, within a canvas.
   * `quick` makes such an image cost at most twice as much as others, `full` ten times. Default `quick`.
   */
  readonly search?: "off" | SearchLevel;
  /**
   * Verdicts with a confidence below this, 0 to 1, are marked `unsure`. Default: for `joint`, the confidence from which
   * on verdicts were right at a rate of 95 % when the set was calibrated; else 0, none.
   */
  readonly unsureBelow?: number;
  /** Lock the journal so that no other process can use it. Needed on network file systems. Default false. */
  readonly exclusive?: boolean;
  /**
   * Receives intermediate results: latents, tokens, token scores.
   *
   * @internal
   */
  readonly observer?: Observer;
  /**
   * Decodes files; the caller closes it.
   *
   * @internal
   */
  readonly decoder?: ImageDecoder;
}

/**
 * An image in memory, with the name that its result carries.
 *
 * @example
 * ```ts
 * import { type NamedImage } from "@model-tracer/model-tracer";
 *
 * const image: NamedImage = { name: "upload-17", image: await Deno.readFile("examples/Dataset/test/0001.png") };
 * console.log(image.name); // the `image` of its line
 * ```
 */
export interface NamedImage {
  /** Name of the image in results. */
  readonly name: string;
  /** The bytes of an image file, a Blob of them, or decoded pixels. */
  readonly image: Uint8Array | Blob | RgbImage;
}

/**
 * An image to attribute: a path, a file URL, the bytes of an image file, a Blob or File, decoded RGB pixels, or one of
 * the latter with a name. Images without a name are called `image-1`, `image-2`, ... by their position.
 *
 * @example
 * ```ts
 * import { type ImageSource } from "@model-tracer/model-tracer";
 *
 * const images: ImageSource[] = [
 *   "examples/Dataset/test/0001.png",
 *   await Deno.readFile("examples/Dataset/test/0002.png"),
 *   new Blob(["the bytes of a file"]),
 *   { width: 1, height: 1, data: new Uint8Array([255, 0, 0]) },
 * ];
 * console.log(images.length); // for tracer.attribute(images)
 * ```
 */
export type ImageSource = string | URL | Uint8Array | Blob | RgbImage | NamedImage | ImageInput;

/**
 * Properties of an open tracer.
 *
 * @example
 * ```ts
 * import { Tracer, type TracerInfo } from "@model-tracer/model-tracer";
 *
 * await using tracer = await Tracer.open({ device: "cpu" });
 * const info: TracerInfo = tracer.info;
 * console.log(info.modelSet.name, info.method, info.labels);
 * ```
 */
export interface TracerInfo {
  /** The model set; `hash` identifies its weights and settings. */
  readonly modelSet: { readonly name: string; readonly hash: string; readonly description: string | null };
  /** Names of the variants, by family. */
  readonly variants: Readonly<Record<FamilyName, readonly string[]>>;
  /** All possible labels: the variants and `outlier`. */
  readonly labels: readonly string[];
  /** sha256 of the calibration file; null without one. */
  readonly calibration: string | null;
  /** The decision method. */
  readonly method: MethodName;
  /** Verdicts with a confidence below this are marked `unsure`. */
  readonly unsureBelow: number;
  /** How thoroughly images that would be outliers are searched for poses. */
  readonly search: "off" | SearchLevel;
  /** The settings that numbers in the evidence depend on. */
  readonly settings: Settings;
  /** The device; `software` is true for a WebGPU adapter that runs on the CPU. */
  readonly device: { readonly kind: "cpu" | "webgpu"; readonly name: string; readonly software: boolean };
  /** Sides, in pixels, of the squares that images are resized to. */
  readonly imageSizes: readonly number[];
  /** Images per pass of the tokenizers. */
  readonly maxBatch: number;
  /** Limit for weights and activations. */
  readonly memoryBytes: number;
}

/**
 * Options of `Tracer.attribute`.
 *
 * @example
 * ```ts
 * import { type AttributeOptions } from "@model-tracer/model-tracer";
 *
 * let done = 0;
 * const options: AttributeOptions = {
 *   signal: AbortSignal.timeout(60_000),
 *   onWork: (images) => console.error(`${(done += images).toFixed(1)} images`),
 * };
 * console.log(Object.keys(options)); // for tracer.attribute(images, options)
 * ```
 */
export interface AttributeOptions {
  /** Aborting ends the stream after the pass in progress. Images that are complete by then are still yielded. */
  readonly signal?: AbortSignal;
  /** Receives the work done since the previous call, in images; fractions are possible. */
  readonly onWork?: (images: number) => void;
}

/** Calibrations by tracer: outside of the class, as their type is no part of the public API. */
const fittings = new WeakMap<Tracer, Calibration>();

/** What was fitted for a tracer, beyond what decides. */
export function fittedOf(tracer: Tracer): Calibration {
  return fittings.get(tracer)!;
}

/**
 * Attributes images to the models of a set.
 *
 * @example
 * ```ts
 * import { isUnreadable, Tracer } from "@model-tracer/model-tracer";
 *
 * await using tracer = await Tracer.open({ device: "cpu" });
 * for await (const line of tracer.attribute(["examples/Dataset/test/0001.png"])) {
 *   if (!isUnreadable(line)) console.log(line.image, line.finding, line.label, line.confidence);
 * }
 * ```
 */
export class Tracer implements AsyncDisposable {
  /** Properties of the tracer: model set, labels, method, device. */
  readonly info: TracerInfo;
  /** The labels of the model set, and which family each belongs to. */
  readonly labels: Labels;
  /** Signals, thresholds, classifiers and prior of the decision. */
  readonly rules: Rules;
  /**
   * Device, memory plan, journal and networks, for reports about the run.
   *
   * @internal
   */
  readonly run: OpenRun;
  readonly #cleanup: AsyncDisposableStack;
  #isBusy = false;
  /** Number of lines yielded so far. */
  #lines = 0;

  private constructor(choice: Choice, run: OpenRun, cleanup: AsyncDisposableStack) {
    const { set, labels, rules, method } = choice;
    this.labels = labels;
    this.rules = rules;
    fittings.set(this, choice.fitted);
    this.run = run;
    this.#cleanup = cleanup;
    const { info } = run.device;
    this.info = {
      modelSet: { name: setName(set), hash: set.hash, description: set.manifest.description ?? null },
      variants: labels.variants,
      labels: labels.all,
      calibration: choice.calibration,
      method,
      unsureBelow: choice.unsureBelow,
      search: choice.searching?.level ?? "off",
      settings: run.settings,
      device: { kind: info.kind, name: info.name, software: info.software },
      imageSizes: [...new Set(set.families.map((family) => set.tokenizerFacts(family).imageSize))],
      maxBatch: run.plan.tokenizerBatch,
      memoryBytes: run.plan.memoryBytes,
    };
  }

  /**
   * Checks weights, calibration and settings, then opens the device and loads the networks. Calls `onNote` with facts
   * that a user should know, and `onPrepare` before each check and each loading of a network.
   *
   * Throws before any image is read, and closes everything that it opened: a RangeError for unknown methods and values
   * out of range; a ModelSetError, CalibrationError, MemoryLimitError or DeviceError, with advice, where weights,
   * calibration, memory or device do not fit the options.
   */
  static async open(options: TracerOptions = {}, events: RunEvents = {}): Promise<Tracer> {
    const choice = await choose(options, events);
    await using cleanup = new AsyncDisposableStack();
    const run = await openRun(choice.set, measuringOf(choice), options, events, cleanup);
    await run.open();
    return new Tracer(choice, run, cleanup.move());
  }

  /**
   * Yields one line per image in the order of the images: verdict and evidence, or `unreadable` and the reason. Images
   * are read when they are needed. Calls must not overlap: throws when the stream of an earlier call has not ended. A
   * device or network that fails throws, too.
   */
  async *attribute(
    images: Iterable<ImageSource> | AsyncIterable<ImageSource>,
    { signal, onWork }: AttributeOptions = {},
  ): AsyncGenerator<EvidenceLine, void, void> {
    if (this.#isBusy) {
      throw new Error("attribute: expected the stream of the previous call to have ended; a tracer runs one at a time");
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
      unsureBelow: this.info.unsureBelow,
    };
    try {
      const lines = this.run.lines(toInputs(images), (inputs) => attribute(inputs, options));
      for await (const line of lines) {
        this.#lines++;
        yield line;
      }
    } finally {
      this.#isBusy = false;
    }
  }

  /** Frees the networks and closes the device, the journal and the report, which then gets its summary. */
  async [Symbol.asyncDispose](): Promise<void> {
    const { report } = this.run;
    if (report?.isOpen && this.#lines > 0) {
      const summary = { status: "done", images: this.#lines, ...this.info } as const;
      await report.finish(summary);
    }
    await this.#cleanup.disposeAsync();
  }
}

/** Converts sources to inputs of the pipeline. Sources without a name are named by their position. */
async function* toInputs(
  sources: Iterable<ImageSource> | AsyncIterable<ImageSource>,
): AsyncGenerator<ImageInput, void, void> {
  let position = 0;
  for await (const source of sources) yield await toInput(source, `image-${++position}`);
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
    `attribute: expected ${width} x ${height} x 3 bytes of ${imageName}, got ${data.length}: ` +
      "pixels are RGB without alpha",
  );
}

/** The bytes, copied if they are in shared memory, where another thread could change them. */
function unshared(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return bytes.buffer instanceof ArrayBuffer ? bytes as Uint8Array<ArrayBuffer> : Uint8Array.from(bytes);
}
