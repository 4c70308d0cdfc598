/**
 * What every run over images is made of: options, settings, and everything that is opened before its first image, in an order
 * in which anything that is wrong fails before work. What a run does with its lines is job.ts's and measuring_run.ts's business.
 */
import { type DeviceName, openDevice } from "../../core/open_device.ts";
import type { Device } from "../../core/tensor/mod.ts";
import type { FamilyName } from "../../models/family.ts";
import type { ModelSet } from "../../models/model_set.ts";
import { type ConditionName, isUnreadable, type MeasurementLine, type Settings } from "../evidence/evidence.ts";
import type { ImageInput } from "../images/load.ts";
import { Journal, journaled, type JournaledLine, type JournalKey, type Shard } from "./journal/mod.ts";
import { familyNames } from "../labels.ts";
import { defaultInference, type InferenceSettings } from "../likelihood/class_inference.ts";
import type { ExtraScores } from "../likelihood/variant_scorer.ts";
import { Models } from "./variant_pool.ts";
import { type MeasureOptions, variantsOf } from "./pipeline.ts";
import { usualMemoryLimit } from "./memory_limit.ts";
import { type Plan, planMemory } from "./memory_plan.ts";
import { journalIn, Report } from "./report.ts";
import type { Quantize } from "../signals/reconstruction.ts";
import { loadWithOwnEncoder, tracingShare } from "../signals/own_encoder.ts";
import { openQuantizer, type QuantizerName } from "../quantisation/quantizers.ts";
import type { SignalLevel } from "../signals/table.ts";

/** Where a run computes, and where it keeps what it measures. */
export interface RunOptions {
  readonly device?: DeviceName;
  readonly threads?: number;
  readonly weightType?: "f32" | "f16";
  /** Limit for weights and activations; see `usualMemoryLimit` for the default. */
  readonly memoryBytes?: number;
  readonly maxPixels?: number;
  /** Folder for evidence.jsonl, a line per image, and summary.json. */
  readonly report?: string;
  /**
   * File in which everything that is measured is kept, and from which it is recalled, whoever measured it (journal/).
   * Default: journal.sqlite in the report's folder; without a report nothing is kept.
   */
  readonly journal?: string;
  readonly signal?: AbortSignal;
}

export interface RunEvents {
  /** One thing to tell the user before work starts. */
  readonly onNote?: (text: string) => void;
  /** A network is checked or loaded. */
  readonly onPrepare?: (text: string) => void;
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
  readonly plan: Plan;
  readonly settings: Settings;
  readonly journal?: Journal;
  readonly report?: Report;
  readonly counts: Readonly<RunCounts>;
  /** For measure() and attribute(). */
  readonly measuring: MeasureOptions;
  /** Runs the pipeline over images; what it measures is in the journal and the report before it comes out. */
  lines<L extends MeasurementLine>(
    images: Iterable<ImageInput>,
    pipeline: (images: Iterable<ImageInput> | AsyncIterable<ImageInput>) => AsyncGenerator<L, void, void>,
    journaling?: { readonly shard?: Shard; readonly onKept?: (lines: readonly JournaledLine<L>[]) => void },
  ): AsyncGenerator<L, void, void>;
}

/**
 * Opens device, journal, report and networks, and hands them to `cleanup`. Throws before any work when memory, weights or
 * files do not allow the run. `exclusive` takes the journal for this process alone.
 */
export async function openRun(
  set: ModelSet,
  what: Measuring,
  options: RunOptions & { readonly exclusive?: boolean },
  events: RunEvents,
  cleanup: AsyncDisposableStack,
): Promise<OpenRun> {
  const { weightType = "f32", maxPixels, signal, exclusive } = options;
  const { quantization, signals, scoring } = what;
  const device = await openDevice(options.device ?? "auto", { threads: options.threads });
  cleanup.defer(() => device.close());
  if (device.info.software) events.onNote?.(`using a software adapter: ${device.info.name}`);
  const plan = planRun(set, device, what, options.memoryBytes ?? usualMemoryLimit(device), weightType);
  const settings = settingsOf(what, device.info.kind, weightType);

  const report = options.report === undefined ? undefined : await Report.open(options.report);
  cleanup.defer(() => report?.discard());
  const path = options.journal ?? (options.report === undefined ? undefined : journalIn(options.report));
  const journal = path === undefined ? undefined : Journal.open(path, { exclusive });
  cleanup.defer(() => journal?.close());
  const key: JournalKey = { modelSet: set.hash, settings };
  const evidence = journal?.evidence(key);

  const models = await Models.open(set, device, plan, {
    weightType,
    onLoad: (name) => events.onPrepare?.(`loading ${name}`),
    loadFamily: signals === "baselines" ? (name) => loadWithOwnEncoder(set, device, name) : undefined,
  });
  cleanup.defer(() => models.dispose());
  const quantizers: Partial<Record<FamilyName, Quantize>> = {};
  for (const name of familyNames) {
    const quantizer = await openQuantizer(quantization, models.families[name]);
    cleanup.defer(() => quantizer.dispose());
    quantizers[name] = quantizer.quantize;
  }

  const counts: RunCounts = { recalled: 0, computed: 0 };
  /** Images that networks have run over and whose lines have not come out yet. */
  const inWork = new Set<string>();
  let worked = 0;
  const measuring: MeasureOptions = {
    ...{ device, models, plan, settings, quantizers, maxPixels, signal },
    variants: scoring === undefined ? { rar: [], var: [] } : variantsOf(set),
    modelSet: set.hash,
    extras: scoring?.extras,
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
      evidence?.remember(measured);
      return Promise.resolve();
    },
    onWork: (images) => events.onProgress?.(worked += images),
  };
  return {
    ...{ device, plan, settings, journal, report, counts, measuring },
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

/** Memory for the networks that run: the tokenizers, and the transformers where there is scoring. */
function planRun(
  set: ModelSet,
  device: Device,
  { quantization, signals, scoring }: Measuring,
  memoryBytes: number,
  weightType: "f32" | "f16",
): Plan {
  const networks = set.networks.filter(({ variant }) => variant === undefined || scoring !== undefined);
  const classes = scoring !== undefined && scoring.condition !== "none";
  const own = { networks, footprint: set.footprint.bind(set) };
  const plan = planMemory(own, device, { memoryBytes, weightType, classes, quantization });
  if (signals !== "baselines") return plan;
  const batch = Math.max(1, Math.floor(plan.tokenizerBatch / tracingShare));
  return { ...plan, tokenizerBatch: batch, chunk: batch };
}
