/**
 * Opens device, memory plan, journal, report and networks for a run over images, so that errors surface before any
 * inference. tracer.ts and measure_images.ts use it.
 */
import { formatBytes } from "../../util/bytes.ts";
import { DeviceError } from "../../util/errors.ts";
import { hiddenCard } from "../../core/mod.ts";
import { type DeviceName, openDevice } from "../../core/open_device.ts";
import type { Device, Tensor } from "../../core/tensor/mod.ts";
import type { FamilyName } from "../../models/family.ts";
import type { ModelSet } from "../../models/model_set.ts";
import { joinExtras } from "../decision/extras.ts";
import {
  type ConditionName,
  isUnreadable,
  type MeasurementLine,
  type Settings,
  summariesVersion,
} from "../evidence/evidence.ts";
import { type ImageDecoder, openDecoder } from "../images/decoder/mod.ts";
import type { ImageInput } from "../images/load.ts";
import { labelsOf } from "../labels.ts";
import { defaultInference, type InferenceSettings } from "../likelihood/class_inference.ts";
import type { TokenScores } from "../likelihood/token_scores.ts";
import type { ExtraScores } from "../likelihood/variant_scorer.ts";
import type { Quantize } from "../quantisation/quantize.ts";
import { openQuantizer, type QuantizerName } from "../quantisation/quantizers.ts";
import { loadWithOwnEncoder, tracingShare } from "../signals/own_encoder.ts";
import type { SignalLevel } from "../signals/table.ts";
import type { Measured, MeasureOptions, SearchOptions } from "./image_state.ts";
import { Journal, journaled, type JournaledLine, type Shard } from "./journal/mod.ts";
import { usualMemoryLimit } from "./memory_limit.ts";
import { leastMemory, type Plan, planMemory } from "./memory_plan.ts";
import { journalIn, Report } from "./report.ts";
import { VariantPool } from "./variant_pool.ts";

/**
 * Where a run computes, and where it stores its results.
 *
 * @example
 * ```ts
 * import { type RunOptions } from "@model-tracer/model-tracer";
 *
 * const options: RunOptions = { device: "cpu", threads: 2, maxBatch: 4, journal: "journal.sqlite" };
 * console.log(options.device); // for Tracer.open(options)
 * ```
 */
export interface RunOptions {
  /** Default `auto`: a hardware adapter of WebGPU, else the CPU. */
  readonly device?: DeviceName;
  /** Whether `webgpu` may be a software adapter. Default true. */
  readonly allowSoftware?: boolean;
  /** Threads of the CPU device. Default: as many as the machine has processors. */
  readonly threads?: number;
  /**
   * Type in which the weights of matrices are stored on the device. Default: that of their files; `f16` rounds them to
   * half the memory of `f32`.
   */
  readonly weightType?: "f32" | "f16";
  /**
   * Limit for weights and activations on the device. Default: by the free memory, at most 8 GiB or what the largest
   * network needs, on a card 40 GiB.
   */
  readonly memoryBytes?: number;
  /** Largest number of images per pass; memory may allow fewer. Default 16. */
  readonly maxBatch?: number;
  /** Load all variants that fit into memory before the first image, not when they are first used. Default true. */
  readonly preload?: boolean;
  /** Images with more pixels are unreadable. Default 64 Mi. */
  readonly maxPixels?: number;
  /** Folder for evidence.jsonl (a line per image) and summary.json. Default: none is written. */
  readonly report?: string;
  /**
   * SQLite file that keeps all measurements. Later runs, also of other tasks, recall them in place of measuring again.
   * Default: journal.sqlite in the report's folder; without a report nothing is kept.
   */
  readonly journal?: string;
  /** Aborting it ends the run after the pass in progress. */
  readonly signal?: AbortSignal;
}

/** Receives intermediate results that the evidence does not contain. */
export interface Observer {
  /** Called with the latents f and fHat [batch, h, w, channels] of a batch. Both tensors are freed after the pass. */
  readonly onQuantised?: (family: FamilyName, f: Tensor, fHat: Tensor) => void;
  /** Called after every pass with the measurements of its images so far, tokens included. */
  readonly onMeasured?: (measured: readonly Measured[]) => void;
  /** Called with the log-probabilities of an image's tokens under a variant. */
  readonly onScores?: (variant: string, tokens: Int32Array, scores: TokenScores) => void;
}

/**
 * Progress of a run.
 *
 * @example
 * ```ts
 * import { type RunEvents, Tracer } from "@model-tracer/model-tracer";
 *
 * const events: RunEvents = { onNote: (text) => console.error(text), onPrepare: (text) => console.error(text) };
 * await using tracer = await Tracer.open({ device: "cpu" }, events);
 * console.log(tracer.info.method);
 * ```
 */
export interface RunEvents {
  /** Called with a fact that the user should know, such as the choice of a software adapter. */
  readonly onNote?: (text: string) => void;
  /** Called before a network is checked or loaded, with a description such as `loading var16`. */
  readonly onPrepare?: (text: string) => void;
  /** Called once before the first image, with the number of images. */
  readonly onStart?: (total: number) => void;
  /** Called with the work done so far, in images; fractions are possible. */
  readonly onProgress?: (images: number) => void;
}

/** What is measured of every image. */
export interface Measuring {
  /** The quantiser that makes tokens. */
  readonly quantization: QuantizerName;
  /** Which signals of the tokenizers. */
  readonly signals: SignalLevel;
  /** How transformers score the tokens. Default: no transformer is run. */
  readonly scoring?: Scoring;
  /** Which images are searched for poses. Default: none. */
  readonly searching?: SearchOptions;
}

/** How transformers score tokens. */
export interface Scoring {
  /** The class condition; `given` needs images with classes. */
  readonly condition: ConditionName;
  /** How classes are inferred under the condition `infer`. */
  readonly inference?: InferenceSettings;
  /** Further statistics of the token scores. */
  readonly extras?: ExtraScores;
}

/**
 * The settings that measurements depend on, as evidence and journal record them. Weights that stay as their files have
 * them are `f32`: none is rounded, whatever memory they take.
 */
export function settingsOf(
  { quantization, signals, scoring }: Measuring,
  device: Settings["device"],
  { weightType = "f32", latents }: { readonly weightType?: Settings["weightType"]; readonly latents?: string } = {},
): Settings {
  const { condition = "none", inference = defaultInference, extras } = scoring ?? {};
  return {
    condition,
    ...scoring !== undefined && { summaries: summariesVersion },
    ...condition === "infer" && { inference },
    ...extras !== undefined && { extras: extras.id },
    quantization,
    signals,
    ...latents !== undefined && { latents },
    device,
    weightType,
  };
}

/** Numbers of images of a run. */
export interface RunCounts {
  /** Images with evidence in the journal, complete or not. */
  readonly recalled: number;
  /** Images for which a network had to run. */
  readonly computed: number;
  /** Images with rows in the journal that did not match their checksums. Absent for none. */
  readonly damaged?: number;
}

/** An open run. */
export interface OpenRun {
  readonly device: Device;
  readonly pool: VariantPool;
  readonly plan: Plan;
  readonly settings: Settings;
  readonly journal?: Journal;
  readonly report?: Report;
  /** The images so far. */
  readonly counts: RunCounts;
  /** Options for `measure` and `attribute` of pipeline.ts. */
  readonly measuring: MeasureOptions;
  /**
   * Runs `pipeline` over images. Measurements are in the journal, and lines in the report, before they are yielded.
   * With a journal, images with the same content are measured once.
   */
  lines<L extends MeasurementLine>(
    images: Iterable<ImageInput> | AsyncIterable<ImageInput>,
    pipeline: (images: Iterable<ImageInput> | AsyncIterable<ImageInput>) => AsyncGenerator<L, void, void>,
    journaling?: { readonly shard?: Shard; readonly onKept?: (lines: readonly JournaledLine<L>[]) => void },
  ): AsyncGenerator<L, void, void>;
}

/** Options of `openRun`. */
export interface OpenRunOptions extends RunOptions {
  /** Lock the journal so that no other process can use it. Default false. */
  readonly exclusive?: boolean;
  readonly observer?: Observer;
  /** Decodes files; the caller closes it. Default: openDecoder(). */
  readonly decoder?: ImageDecoder;
}

/**
 * Opens device, report, journal and networks, and defers their disposal to `cleanup`. Throws before any image is read
 * when memory, weights or files do not fit.
 */
export async function openRun(
  set: ModelSet,
  what: Measuring,
  options: OpenRunOptions,
  events: RunEvents,
  cleanup: AsyncDisposableStack,
): Promise<OpenRun> {
  const { weightType, maxPixels, signal, preload, observer = {} } = options;
  const { signals, scoring } = what;
  const device = await openDevice(options.device ?? "auto", { threads: options.threads });
  cleanup.defer(() => device.close());
  checkSoftware(device, options);
  const plan = await planRun(set, device, what, options);
  device.limitMemory(plan.memoryBytes);
  noteDevice(device, plan, options, events);
  const settings = settingsOf(what, device.info.kind, { weightType, latents: set.latentsId });
  if (options.decoder === undefined) events.onPrepare?.("starting the decoder of images");
  const decoder = options.decoder ?? openDecoder();
  if (options.decoder === undefined) cleanup.use(decoder);
  const { report, journal } = await openFiles(options, events, cleanup);
  const evidence = journal?.evidence({ modelSet: set.hash, settings });
  const pool = await VariantPool.open(set, device, plan, {
    weightType,
    preload,
    onLoad: (name) => events.onPrepare?.(`loading ${name}`),
    loadTokenizer: signals === "baselines" ? (name) => loadWithOwnEncoder(set, device, name) : undefined,
  });
  cleanup.defer(() => pool.dispose());
  const quantizers = await openQuantizers(pool, what.quantization, observer, cleanup);

  const counter = new Counter();
  let done = 0;
  const measuring: MeasureOptions = {
    ...{ device, models: pool, plan, settings, quantizers, maxPixels, decoder, signal },
    variants: scoring === undefined ? {} : labelsOf(set).variants,
    modelSet: set.hash,
    search: what.searching,
    extras: withObserver(scoring?.extras, observer),
    recall: evidence && ((sha256) => {
      const recalled = evidence.recall(sha256);
      if (recalled !== undefined) counter.recalled++;
      return Promise.resolve(recalled);
    }),
    begin: evidence && ((hashes) => hashes.forEach((sha256) => evidence.begin(sha256))),
    remember: (measured) => {
      counter.addComputed(measured);
      observer.onMeasured?.(measured);
      evidence?.remember(measured);
      return Promise.resolve();
    },
    onWork: (images) => events.onProgress?.(done += images),
  };
  return {
    ...{ device, pool, plan, settings, journal, report, measuring },
    get counts() {
      const damaged = journal?.damaged.size ?? 0;
      return { recalled: counter.recalled, computed: counter.computed, ...damaged > 0 && { damaged } };
    },
    async *lines(images, pipeline, { shard, onKept } = {}) {
      const stream = evidence === undefined
        ? pipeline(images)
        : journaled(images, { evidence, shard, maxPixels, pipeline, onKept });
      const known = journal?.damaged.size ?? 0;
      for await (const line of stream) {
        if (!isUnreadable(line)) counter.finish(line.sha256);
        await report?.add(line);
        yield line;
      }
      const damaged = (journal?.damaged.size ?? 0) - known;
      if (damaged > 0) {
        events.onNote?.(
          `journal ${
            journal!.path
          }: rows of ${damaged} images did not match their checksums and were measured again: ` +
            "check the disk",
        );
      }
    },
  };
}

/** Counts the images of a run. An image of which several passes measure parts is one computed image. */
class Counter {
  recalled = 0;
  computed = 0;
  /** Hashes of images that were measured and whose lines are not complete yet. */
  readonly #inProgress = new Set<string>();

  addComputed(measured: readonly Measured[]): void {
    for (const { sha256 } of measured) {
      if (!this.#inProgress.has(sha256)) this.computed++;
      this.#inProgress.add(sha256);
    }
  }

  finish(sha256: string): void {
    this.#inProgress.delete(sha256);
  }
}

/** Opens report and journal where the options name them. */
async function openFiles(
  options: OpenRunOptions,
  { onNote }: RunEvents,
  cleanup: AsyncDisposableStack,
): Promise<{ readonly report?: Report; readonly journal?: Journal }> {
  const report = options.report === undefined ? undefined : await Report.open(options.report);
  cleanup.defer(() => report?.discard());
  const path = options.journal ?? (options.report === undefined ? undefined : journalIn(options.report));
  const journal = path === undefined ? undefined : Journal.open(path, { exclusive: options.exclusive, onNote });
  cleanup.defer(() => journal?.close());
  return { report, journal };
}

async function openQuantizers(
  { tokenizers }: VariantPool,
  name: QuantizerName,
  observer: Observer,
  cleanup: AsyncDisposableStack,
): Promise<Record<FamilyName, Quantize>> {
  const quantizers: Record<FamilyName, Quantize> = {};
  for (const [family, tokenizer] of Object.entries(tokenizers)) {
    const quantizer = await openQuantizer(name, tokenizer);
    cleanup.defer(() => quantizer.dispose());
    quantizers[family] = observed(family, quantizer.quantize, observer);
  }
  return quantizers;
}

/** Throws for a software adapter where the options exclude that. */
function checkSoftware({ info }: Device, { allowSoftware = true }: RunOptions): void {
  if (!info.software || allowSoftware) return;
  throw new DeviceError(
    `device: expected a GPU, found the software adapter ${info.name}, which is slower than --device cpu; ` +
      "install the GPU's Vulkan driver (docs/deploy.md), or allow it with --allow-software",
  );
}

/** Notes which adapter was taken and what it may use, or why a card was not. */
function noteDevice({ info }: Device, plan: Plan, { device = "auto" }: RunOptions, events: RunEvents): void {
  if (info.software) return events.onNote?.(`using a software adapter: ${info.name}`);
  if (info.kind === "webgpu") {
    const [limit, tensor] = [plan.memoryBytes, info.maxTensorBytes].map(formatBytes);
    return events.onNote?.(`using ${info.name}, at most ${limit} of its memory, ${tensor} per tensor`);
  }
  const hidden = device === "auto" ? hiddenCard() : undefined;
  if (hidden !== undefined) events.onNote?.(`using the processor: ${hidden}`);
}

function observed(family: FamilyName, quantize: Quantize, { onQuantised }: Observer): Quantize {
  if (onQuantised === undefined) return quantize;
  return (f) => {
    const result = quantize(f);
    onQuantised(family, f, result.fHat);
    return result;
  };
}

/** Extras that also pass token scores to the observer, which adds nothing to the evidence. */
function withObserver(extras: ExtraScores | undefined, { onScores }: Observer): ExtraScores | undefined {
  if (onScores === undefined) return extras;
  const watcher: ExtraScores = {
    id: "",
    summarise(scores, tokens, variant) {
      onScores(variant, tokens, scores);
      return {};
    },
  };
  return joinExtras([...extras === undefined ? [] : [extras], watcher]);
}

/** Plans memory for the tokenizers and, if there is scoring, the transformers. */
async function planRun(
  set: ModelSet,
  device: Device,
  { quantization, signals, scoring }: Measuring,
  options: RunOptions,
): Promise<Plan> {
  const { weightType, maxBatch } = options;
  const networks = set.networks.filter(({ variant }) => variant === undefined || scoring !== undefined);
  const classes = scoring !== undefined && scoring.condition !== "none";
  const planned = {
    networks,
    footprint: set.footprint.bind(set),
    tokenizerFacts: set.tokenizerFacts.bind(set),
  };
  const needs = { weightType, maxBatch, classes, quantization };
  const { memoryBytes = await usualMemoryLimit(device, leastMemory(planned, device, needs)) } = options;
  const isUsual = options.memoryBytes === undefined;
  const plan = planMemory(planned, device, { ...needs, memoryBytes, isUsual });
  if (signals !== "baselines") return plan;
  const batch = Math.max(1, Math.floor(plan.tokenizerBatch / tracingShare));
  return { ...plan, tokenizerBatch: batch, chunk: batch };
}
