/**
 * Opens device, memory plan, journal, report and networks for a run over images, in an order in which errors surface before
 * any inference. What is done with the lines of a run is up to tracer.ts and measure_images.ts.
 */
import { DeviceError } from "../../util/errors.ts";
import { type DeviceName, openDevice } from "../../core/open_device.ts";
import type { Device, Tensor } from "../../core/tensor/mod.ts";
import type { FamilyName } from "../../models/family.ts";
import type { ModelSet } from "../../models/model_set.ts";
import { joinExtras } from "../decision/extras.ts";
import { type ConditionName, isUnreadable, type MeasurementLine, type Settings } from "../evidence/evidence.ts";
import type { ImageInput } from "../images/load.ts";
import { labelsOf } from "../labels.ts";
import { defaultInference, type InferenceSettings } from "../likelihood/class_inference.ts";
import type { TokenScores } from "../likelihood/token_scores.ts";
import type { ExtraScores } from "../likelihood/variant_scorer.ts";
import type { Quantize } from "../quantisation/quantize.ts";
import { openQuantizer, type QuantizerName } from "../quantisation/quantizers.ts";
import { loadWithOwnEncoder, tracingShare } from "../signals/own_encoder.ts";
import type { SignalLevel } from "../signals/table.ts";
import type { Measured, MeasureOptions } from "./image_state.ts";
import { Journal, journaled, type JournaledLine, type JournalKey, type Shard } from "./journal/mod.ts";
import { usualMemoryLimit } from "./memory_limit.ts";
import { type Plan, planMemory } from "./memory_plan.ts";
import { journalIn, Report } from "./report.ts";
import { VariantPool } from "./variant_pool.ts";

/** Where a run computes, and where it keeps what it measures. */
export interface RunOptions {
  /** Default `auto`: a hardware adapter of WebGPU, else the CPU. */
  readonly device?: DeviceName;
  /** Whether `webgpu` may be a software adapter. Default true. */
  readonly allowSoftware?: boolean;
  /** Of the CPU device. Default: all processors. */
  readonly threads?: number;
  /** Storage type of the networks' matrices. Default f32; f16 takes half the memory. */
  readonly weightType?: "f32" | "f16";
  /** Limit for weights and activations; see `usualMemoryLimit` for the default. */
  readonly memoryBytes?: number;
  /** Images per pass at most; memory may allow fewer. Default 16. */
  readonly maxBatch?: number;
  /** Load all variants that fit into memory before the first image. Default true. */
  readonly preload?: boolean;
  /** Larger images are unreadable. Default 64 Mi pixels. */
  readonly maxPixels?: number;
  /** Folder for evidence.jsonl, a line per image, and summary.json. */
  readonly report?: string;
  /**
   * File in which everything that is measured is kept, and from which it is recalled, whoever measured it (journal/).
   * Default: journal.sqlite in the report's folder; without a report nothing is kept.
   */
  readonly journal?: string;
  /** Once aborted, the pass in progress is finished, and the run ends. */
  readonly signal?: AbortSignal;
}

/** Sees intermediate results that evidence does not keep. */
export interface Observer {
  /** A batch was quantised: f and fHat, [batch, h, w, channels], which are freed afterwards. */
  readonly onQuantised?: (family: FamilyName, f: Tensor, fHat: Tensor) => void;
  /** What was measured of images so far, tokens included, whenever a pass is done. */
  readonly onMeasured?: (measured: readonly Measured[]) => void;
  /** Log-probabilities of an image's tokens under a variant. */
  readonly onScores?: (variant: string, tokens: Int32Array, scores: TokenScores) => void;
}

/** What a run tells while it opens and works. */
export interface RunEvents {
  /** One thing to tell the user before work starts. */
  readonly onNote?: (text: string) => void;
  /** A network is checked or loaded. */
  readonly onPrepare?: (text: string) => void;
  /** Work starts, on that many images. */
  readonly onStart?: (total: number) => void;
  /** Work done so far, counted in images. */
  readonly onProgress?: (images: number) => void;
}

/** What is measured of every image. */
export interface Measuring {
  readonly quantization: QuantizerName;
  readonly signals: SignalLevel;
  /** What transformers say of the tokens. Without it none is run. */
  readonly scoring?: Scoring;
}

export interface Scoring {
  /** `given` needs images with classes. */
  readonly condition: ConditionName;
  /** How classes are inferred, where they are. */
  readonly inference?: InferenceSettings;
  readonly extras?: ExtraScores;
}

/** The settings that evidence is kept under. */
export function settingsOf(
  { quantization, signals, scoring }: Measuring,
  device: Settings["device"],
  weightType: Settings["weightType"],
): Settings {
  const { condition = "none", inference = defaultInference, extras } = scoring ?? {};
  return {
    condition,
    ...scoring !== undefined && { summaries: "summaries/1" },
    ...condition === "infer" && { inference },
    ...extras !== undefined && { extras: extras.id },
    quantization,
    signals,
    device,
    weightType,
  };
}

/** What is counted while a run goes on, in images. */
export interface RunCounts {
  /** Of which something was known before. */
  recalled: number;
  /** Of which a network has measured something. */
  computed: number;
}

export interface OpenRun {
  readonly device: Device;
  readonly pool: VariantPool;
  readonly plan: Plan;
  readonly settings: Settings;
  readonly journal?: Journal;
  readonly report?: Report;
  readonly counts: Readonly<RunCounts>;
  /** For measure() and attribute(). */
  readonly measuring: MeasureOptions;
  /** Runs the pipeline over images; what it measures is in the journal and the report before it comes out. */
  lines<L extends MeasurementLine>(
    images: Iterable<ImageInput> | AsyncIterable<ImageInput>,
    pipeline: (images: Iterable<ImageInput> | AsyncIterable<ImageInput>) => AsyncGenerator<L, void, void>,
    journaling?: { readonly shard?: Shard; readonly onKept?: (lines: readonly JournaledLine<L>[]) => void },
  ): AsyncGenerator<L, void, void>;
}

/** How a run is opened. */
export interface OpenRunOptions extends RunOptions {
  /** Take the journal for this process alone. */
  readonly exclusive?: boolean;
  readonly observer?: Observer;
}

/**
 * Opens device, journal, report and networks, and hands them to `cleanup`. Throws before any work when memory, weights or
 * files do not allow the run.
 */
export async function openRun(
  set: ModelSet,
  what: Measuring,
  options: OpenRunOptions,
  events: RunEvents,
  cleanup: AsyncDisposableStack,
): Promise<OpenRun> {
  const { weightType = "f32", maxPixels, signal, exclusive, preload, observer = {} } = options;
  const { quantization, signals, scoring } = what;
  const device = await openDevice(options.device ?? "auto", { threads: options.threads });
  cleanup.defer(() => device.close());
  noteSoftware(device, options, events);
  const plan = planRun(set, device, what, options);
  const settings = settingsOf(what, device.info.kind, weightType);

  const report = options.report === undefined ? undefined : await Report.open(options.report);
  cleanup.defer(() => report?.discard());
  const path = options.journal ?? (options.report === undefined ? undefined : journalIn(options.report));
  const journal = path === undefined ? undefined : Journal.open(path, { exclusive });
  cleanup.defer(() => journal?.close());
  const key: JournalKey = { modelSet: set.hash, settings };
  const evidence = journal?.evidence(key);

  const pool = await VariantPool.open(set, device, plan, {
    weightType,
    preload,
    onLoad: (name) => events.onPrepare?.(`loading ${name}`),
    loadTokenizer: signals === "baselines" ? (name) => loadWithOwnEncoder(set, device, name) : undefined,
  });
  cleanup.defer(() => pool.dispose());
  const quantizers: Record<FamilyName, Quantize> = {};
  for (const name of set.families) {
    const quantizer = await openQuantizer(quantization, pool.tokenizers[name]);
    cleanup.defer(() => quantizer.dispose());
    quantizers[name] = observed(name, quantizer.quantize, observer);
  }

  const counts: RunCounts = { recalled: 0, computed: 0 };
  /** Images that networks have run over and whose lines have not come out yet. */
  const inWork = new Set<string>();
  let worked = 0;
  const measuring: MeasureOptions = {
    ...{ device, models: pool, plan, settings, quantizers, maxPixels, signal },
    variants: scoring === undefined ? {} : labelsOf(set).variants,
    modelSet: set.hash,
    extras: withObserver(scoring?.extras, observer),
    recall: evidence && ((sha256) => {
      const found = evidence.recall(sha256);
      if (found !== undefined) counts.recalled++;
      return Promise.resolve(found);
    }),
    remember: (measured) => {
      for (const { sha256 } of measured) {
        if (!inWork.has(sha256)) counts.computed++;
        inWork.add(sha256);
      }
      observer.onMeasured?.(measured);
      evidence?.remember(measured);
      return Promise.resolve();
    },
    onWork: (images) => events.onProgress?.(worked += images),
  };
  return {
    ...{ device, pool, plan, settings, journal, report, counts, measuring },
    async *lines(images, pipeline, { shard, onKept } = {}) {
      const stream = evidence === undefined
        ? pipeline(images)
        : journaled(images, { evidence, shard, maxPixels, pipeline, onKept });
      for await (const line of stream) {
        if (!isUnreadable(line)) inWork.delete(line.sha256);
        await report?.add(line);
        yield line;
      }
    },
  };
}

/** Tells the user of a software adapter. Throws where it will not do. */
function noteSoftware({ info }: Device, { allowSoftware = true }: RunOptions, events: RunEvents): void {
  if (!info.software) return;
  if (allowSoftware) return events.onNote?.(`using a software adapter: ${info.name}`);
  throw new DeviceError(
    `device: expected a GPU, found the software adapter ${info.name}, which is slower than --device cpu; ` +
      "install the GPU's Vulkan driver (docs/deploy.md), or allow it with --allow-software",
  );
}

function observed(family: FamilyName, quantize: Quantize, { onQuantised }: Observer): Quantize {
  if (onQuantised === undefined) return quantize;
  return (f) => {
    const result = quantize(f);
    onQuantised(family, f, result.fHat);
    return result;
  };
}

/** Extras that also show token scores to the observer; it adds no number to the evidence. */
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

/** Memory for the networks that run: the tokenizers, and the transformers where there is scoring. */
function planRun(
  set: ModelSet,
  device: Device,
  { quantization, signals, scoring }: Measuring,
  options: RunOptions,
): Plan {
  const { memoryBytes = usualMemoryLimit(device), weightType, maxBatch } = options;
  const networks = set.networks.filter(({ variant }) => variant === undefined || scoring !== undefined);
  const classes = scoring !== undefined && scoring.condition !== "none";
  const planned = {
    networks,
    footprint: set.footprint.bind(set),
    tokenizerFacts: set.tokenizerFacts.bind(set),
  };
  const plan = planMemory(planned, device, { memoryBytes, weightType, maxBatch, classes, quantization });
  if (signals !== "baselines") return plan;
  const batch = Math.max(1, Math.floor(plan.tokenizerBatch / tracingShare));
  return { ...plan, tokenizerBatch: batch, chunk: batch };
}
