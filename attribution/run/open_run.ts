/**
 * Opens journal and report of a run over images, and makes ready what opens device and networks once an image needs
 * them. tracer.ts, attribute.ts and measure_images.ts use it.
 */
import type { Device } from "../../core/tensor/mod.ts";
import type { ModelSet } from "../../models/model_set.ts";
import { networkName } from "../../models/model_set.ts";
import { joinExtras } from "../decision/extras.ts";
import { isUnreadable, type MeasurementLine, type Settings, summariesVersion } from "../evidence/evidence.ts";
import { ContentHashes } from "../images/content_hashes.ts";
import { type ImageDecoder, openDecoder } from "../images/decoder/mod.ts";
import type { ImageInput } from "../images/load.ts";
import { labelsOf, mapFamilies } from "../labels.ts";
import { defaultInference } from "../likelihood/class_inference.ts";
import type { ExtraScores } from "../likelihood/variant_scorer.ts";
import { isFile } from "../../util/files.ts";
import { measureRates } from "./device_rate.ts";
import type { Measured, MeasureOptions } from "./image_state.ts";
import type { EvidenceCache } from "./journal/evidence_cache.ts";
import { Journal, journaled, type JournaledLine, type Shard } from "./journal/mod.ts";
import { type Opened, RunNetworks } from "./open_networks.ts";
import type { Plan } from "./memory_plan.ts";
import { journalIn, Report } from "./report.ts";
import type { Measuring, Observer, OpenRunOptions, RunEvents } from "./run_options.ts";
import { expectedFlops, makePlan, toldFromSeconds } from "./run_plan.ts";
import { survey } from "./survey.ts";
import type { VariantPool } from "./variant_pool.ts";
import { WorkMeter } from "./work_meter.ts";
import { type CostedWork, stageCosts } from "./work_model.ts";

export type { Measuring, Observer, OpenRunOptions, RunEvents, RunOptions, Scoring } from "./run_options.ts";

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

/** The images of a run, and what else its plan tells. */
export interface Beginning {
  readonly images: readonly ImageInput[];
  readonly shard?: Shard;
  /** Other options, and what would be measured under them. */
  readonly others?: readonly { readonly change: string; readonly work: CostedWork }[];
}

/** An open run. */
export interface OpenRun {
  /** The device. Throws while none is open. */
  readonly device: Device;
  /** The networks. Throws while none are open. */
  readonly pool: VariantPool;
  /** The plan of memory. Throws while no device is open. */
  readonly plan: Plan;
  /** What is open so far. */
  readonly opened: Partial<Opened>;
  readonly settings: Settings;
  readonly journal?: Journal;
  readonly report?: Report;
  /** The images so far. */
  readonly counts: RunCounts;
  /** Options for `measure` and `attribute` of pipeline.ts. */
  readonly measuring: MeasureOptions;
  /** Opens the device and the networks now, not when an image needs them. Throws where they do not fit the options. */
  open(): Promise<Opened>;
  /**
   * Looks up which images the journal has. If it lacks any, opens the device, and tells the plan of work that takes long.
   * Throws where device or memory do not fit the options.
   */
  begin(beginning: Beginning): Promise<void>;
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

/**
 * Opens report and journal, and defers their disposal to `cleanup`. The device is opened when the first image needs it,
 * or at once where there is no journal that could have everything: then this throws, before any image is read, when
 * memory or device do not fit.
 */
export async function openRun(
  set: ModelSet,
  what: Measuring,
  options: OpenRunOptions,
  events: RunEvents,
  cleanup: AsyncDisposableStack,
): Promise<OpenRun> {
  const { weightType, maxPixels, signal, observer = {} } = options;
  const { scoring } = what;
  const networks = new RunNetworks(set, what, options, events, cleanup);
  const path = options.journal ?? (options.report === undefined ? undefined : journalIn(options.report));
  if (path === undefined || !await isFile(path)) await networks.machine();
  const settings = settingsOf(what, await networks.kind(), { weightType, latents: set.latentsId });
  const decoder = options.decoder ?? cleanup.use(new LateDecoder(() => events.onPrepare?.(decoderText)));
  const { report, journal } = await openFiles(options, path, events, cleanup);
  const evidence = journal?.evidence({ modelSet: set.hash, settings });
  const meter = new WorkMeter(stageCosts(set, workOf(what)));
  const open = async () => {
    if (decoder instanceof LateDecoder) decoder.start();
    return await networks.open();
  };
  const counter = new Counter(), hashes = new ContentHashes();
  let done = 0, isBegun = false;
  const measuring: MeasureOptions = {
    networks: async () => {
      const { device, pool, plan, quantizers } = await open();
      return { device, models: pool, plan, quantizers };
    },
    tokenizers: mapFamilies(set.families, (family) => set.tokenizerFacts(family)),
    ...{ settings, maxPixels, decoder, hashes, signal },
    variants: scoring === undefined ? {} : labelsOf(set).variants,
    modelSet: set.hash,
    search: what.searching,
    extras: withObserver(scoring?.extras, observer),
    ...evidence && keeping(evidence, counter),
    remember: (measured) => {
      counter.addComputed(measured);
      observer.onMeasured?.(measured);
      evidence?.remember(measured);
      return Promise.resolve();
    },
    onWork: (images) => events.onProgress?.(done += images, isBegun ? meter.secondsLeft() : undefined),
    work: meter,
  };
  return {
    ...{ settings, journal, report, measuring, open },
    get opened() {
      return networks.known;
    },
    get device() {
      return expectOpen(networks.known.device);
    },
    get pool() {
      return expectOpen(networks.known.pool);
    },
    get plan() {
      return expectOpen(networks.known.plan);
    },
    get counts() {
      const damaged = journal?.damaged.size ?? 0;
      return { recalled: counter.recalled, computed: counter.computed, ...damaged > 0 && { damaged } };
    },
    async begin(beginning) {
      const found = await survey(beginning.images, evidence, { shard: beginning.shard, maxPixels, hashes, signal });
      const todo = found.images - found.recalled;
      if (todo > 0) await tellPlan(set, what, { networks, meter, beginning, found, events, weightType });
      // Where nothing is known, the first image needs the networks, and they are loaded while the decoder starts.
      if (todo > 0 && found.recalled === 0) await open();
      meter.start(found.images, found.recalled);
      isBegun = true;
    },
    async *lines(images, pipeline, { shard, onKept } = {}) {
      const stream = evidence === undefined
        ? pipeline(images)
        : journaled(images, { evidence, shard, maxPixels, hashes, pipeline, onKept });
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

const decoderText = "starting the decoder of images";

/** A decoder that is opened when it is first asked. */
class LateDecoder implements ImageDecoder {
  readonly #onStart: () => void;
  #decoder: ImageDecoder | undefined;

  constructor(onStart: () => void) {
    this.#onStart = onStart;
  }

  /** The decoder. Throws where this process may not have one. */
  start(): ImageDecoder {
    if (this.#decoder === undefined) this.#onStart();
    return this.#decoder ??= openDecoder();
  }

  async pixels(...args: Parameters<ImageDecoder["pixels"]>): ReturnType<ImageDecoder["pixels"]> {
    return await this.start().pixels(...args);
  }

  async stored(...args: Parameters<ImageDecoder["stored"]>): ReturnType<ImageDecoder["stored"]> {
    return await this.start().stored(...args);
  }

  async notes(...args: Parameters<ImageDecoder["notes"]>): ReturnType<ImageDecoder["notes"]> {
    return await this.start().notes(...args);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#decoder?.[Symbol.asyncDispose]();
  }
}

function expectOpen<T>(value: T | undefined): T {
  if (value === undefined) throw new Error("openRun: expected what open() opens to be open");
  return value;
}

/** What is measured, as far as it has a cost. */
export function workOf({ signals, scoring, searching, openShare }: Measuring): CostedWork {
  const { condition, inference } = scoring ?? {};
  return { signals, condition, inference, search: searching?.level, openShare };
}

/** How measurements are found again and kept. */
function keeping(evidence: EvidenceCache, counter: Counter): Pick<MeasureOptions, "recall" | "begin" | "posed"> {
  return {
    recall: (sha256) => {
      const recalled = evidence.recall(sha256);
      if (recalled !== undefined) counter.recalled++;
      return Promise.resolve(recalled);
    },
    begin: (hashes) => hashes.forEach((sha256) => evidence.begin(sha256)),
    posed: {
      recall: (sha256) => Promise.resolve(evidence.recall(sha256)),
      remember: (measured) => Promise.resolve(evidence.remember(measured)),
    },
  };
}

/** What `tellPlan` tells of. */
interface Telling {
  readonly networks: RunNetworks;
  readonly meter: WorkMeter;
  readonly beginning: Beginning;
  readonly found: { readonly images: number; readonly recalled: number; readonly isCounted: boolean };
  readonly events: RunEvents;
  readonly weightType?: "f32" | "f16";
}

/** Operations per second that every device reaches: work that takes no time even so is not worth a measurement. */
const leastRate = 1e9;

/** Opens the device, and where the work may take long, measures how fast it is and tells the plan. */
async function tellPlan(
  set: ModelSet,
  what: Measuring,
  { networks, meter, beginning, found, events, weightType }: Telling,
): Promise<void> {
  const { device, plan } = await networks.machine();
  const todo = found.images - found.recalled;
  if (todo * expectedFlops(meter.costs) < toldFromSeconds * leastRate) return;
  events.onPrepare?.("measuring the device");
  const rates = await measureRates(device, set);
  device.trim();
  meter.rates = rates;
  const { swapped } = plan;
  // Files in half precision stay so anyway.
  const isSmaller = swapped.some((variant) => {
    const network = { family: set.familyOf(variant), variant };
    return set.footprint(device, network, "f16").weights < 0.9 * set.footprint(device, network, weightType).weights;
  });
  const remark = `--weight-type f16: half of the memory, so that fewer of ${swapped.join(", ")} are loaded in turns`;
  const told = makePlan({
    ...{ ...found, rates, costs: meter.costs, device: device.info },
    networks: set.networks.filter(({ variant }) => variant === undefined || what.scoring !== undefined).map(
      networkName,
    ),
    others: (beginning.others ?? []).map(({ change, work }) => ({ change, costs: stageCosts(set, work) })),
    remarks: isSmaller ? [remark] : [],
  });
  if (told.seconds >= toldFromSeconds) events.onPlan?.(told);
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
  path: string | undefined,
  { onNote }: RunEvents,
  cleanup: AsyncDisposableStack,
): Promise<{ readonly report?: Report; readonly journal?: Journal }> {
  const report = options.report === undefined ? undefined : await Report.open(options.report);
  cleanup.defer(() => report?.discard());
  const journal = path === undefined ? undefined : Journal.open(path, { exclusive: options.exclusive, onNote });
  cleanup.defer(() => journal?.close());
  return { report, journal };
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
