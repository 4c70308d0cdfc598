/**
 * Signals of many images by the tokenizers alone, with a journal from which a run resumes. Calibration, robustness and
 * baselines are made of it; whatever needs transformers is job.ts.
 */
import { join } from "node:path";
import { type DeviceName, openDevice } from "../../core/open_device.ts";
import type { Device } from "../../core/tensor/mod.ts";
import { openCheckpoint, syntheticSource, type TensorSource, withPrefix } from "../../models/checkpoint/mod.ts";
import type { Family, FamilyName } from "../../models/family.ts";
import type { WeightEntry } from "../../models/manifest.ts";
import type { ModelSet } from "../../models/model_set.ts";
import { loadRarFamily } from "../../models/rar/family.ts";
import { tokenizerSpecs } from "../../models/rar/tokenizer.ts";
import { loadVarFamily } from "../../models/var/family.ts";
import { vqvaeSpecs } from "../../models/var/vqvae.ts";
import type { WeightSpec } from "../../models/weights.ts";
import { isUnreadable, type MeasuredLine, type MeasurementLine, type Settings } from "../evidence.ts";
import type { ImageInput } from "../input.ts";
import { familyNames } from "../labels.ts";
import { measure, type Networks } from "../pipeline.ts";
import { planMemory } from "../plan.ts";
import { Report } from "../report.ts";
import { tracedWeights } from "../signals/latent_tracer.ts";
import { openQuantizer, type Quantizer, type QuantizerName } from "../signals/quantizers.ts";
import type { SignalLevel } from "../signals/table.ts";

export interface TokenizerRunOptions {
  readonly quantization: QuantizerName;
  readonly signals: SignalLevel;
  /** Folder of the journal. Without one nothing is kept. */
  readonly report?: string;
  readonly resume?: boolean;
  readonly device?: DeviceName;
  readonly threads?: number;
  readonly weightType?: "f32" | "f16";
  readonly memoryBytes: number;
  readonly maxPixels?: number;
  readonly signal?: AbortSignal;
}

export interface TokenizerRunEvents {
  readonly onNote?: (text: string) => void;
  readonly onPrepare?: (text: string) => void;
  readonly onStart?: (total: number) => void;
  readonly onProgress?: (images: number) => void;
  /** An image is done; lines come in the order of the images. */
  readonly onLine?: (line: MeasurementLine, index: number) => void;
}

export interface TokenizerRun {
  /** False when it was interrupted. */
  readonly done: boolean;
  readonly images: { readonly total: number; readonly measured: number; readonly unreadable: number };
  readonly settings: Settings;
  readonly deviceName: string;
}

/** Gradients keep what a forward pass computes: so many times fewer images at once. */
const tracingShare = 16;

/** Measures images in their order. Throws before any work when memory, weights or the journal's folder do not allow it. */
export async function runTokenizers(
  set: ModelSet,
  images: readonly ImageInput[],
  options: TokenizerRunOptions,
  events: TokenizerRunEvents = {},
): Promise<TokenizerRun> {
  const { weightType = "f32", signal, quantization, signals } = options;
  await using cleanup = new AsyncDisposableStack();
  const device = await openDevice(options.device ?? "auto", { threads: options.threads });
  cleanup.defer(() => device.close());
  if (device.info.software) events.onNote?.(`using a software adapter: ${device.info.name}`);
  const tokenizers = {
    networks: set.networks.filter(({ variant }) => variant === undefined),
    footprint: set.footprint.bind(set),
  };
  const plan = planMemory(tokenizers, device, { memoryBytes: options.memoryBytes, weightType });
  const batch = signals === "baselines"
    ? Math.max(1, Math.floor(plan.tokenizerBatch / tracingShare))
    : plan.tokenizerBatch;
  const settings: Settings = { condition: "none", quantization, signals, device: device.info.kind, weightType };
  const report = options.report === undefined
    ? undefined
    : await Report.open(options.report, { modelSet: set.hash, settings }, options.resume ?? false);
  cleanup.defer(() => report?.close());

  const families: Partial<Record<FamilyName, Family>> = {};
  const quantizers: Partial<Record<FamilyName, Quantizer>> = {};
  for (const name of familyNames) {
    events.onPrepare?.(`loading ${name}`);
    const family = signals === "baselines"
      ? await loadWithOwnEncoder(set, device, name)
      : await set.loadFamily(device, name, { weightType });
    cleanup.defer(() => family.dispose());
    families[name] = family;
    const quantizer = await openQuantizer(quantization, family);
    cleanup.defer(() => quantizer.dispose());
    quantizers[name] = quantizer;
  }
  const models: Networks = {
    families: families as Record<FamilyName, Family>,
    withVariant: (name) => Promise.reject(new Error(`${name}: this run has tokenizers only`)),
  };

  let measured = 0, unreadable = 0, worked = 0;
  const started = new Date().toISOString();
  const summary = (status: string) => ({
    status,
    images: { total: images.length, measured, unreadable },
    modelSet: set.hash,
    settings,
    device: device.info.name,
    started,
  });
  events.onStart?.(images.length);
  try {
    const stream = measure(images, () => [], {
      device,
      models,
      plan: { chunk: batch, tokenizerBatch: batch, variantBatch: new Map() },
      variants: { rar: [], var: [] },
      modelSet: set.hash,
      settings,
      quantizers: { rar: quantizers.rar!.quantize, var: quantizers.var!.quantize },
      maxPixels: options.maxPixels,
      signal,
      recall: report && ((sha256) => report.recall(sha256)),
      onWork: (images) => events.onProgress?.(worked += images),
    });
    for await (const line of stream) {
      await report?.add(line);
      events.onLine?.(line, measured + unreadable);
      if (isUnreadable(line)) unreadable++;
      else measured++;
    }
  } catch (error) {
    await report?.pause(summary("failed"));
    throw error;
  }
  const done = measured + unreadable === images.length;
  if (done) await report?.finish(summary("done"));
  else await report?.pause(summary("interrupted"));
  return {
    done,
    images: { total: images.length, measured, unreadable },
    settings,
    deviceName: device.info.name,
  };
}

/** Measures and gathers what could be measured, with the place of its image. */
export async function gatherLines(
  set: ModelSet,
  images: readonly ImageInput[],
  options: TokenizerRunOptions,
  events: TokenizerRunEvents = {},
): Promise<{ run: TokenizerRun; lines: (MeasuredLine | undefined)[] }> {
  const lines: (MeasuredLine | undefined)[] = images.map(() => undefined);
  const run = await runTokenizers(set, images, options, {
    ...events,
    onLine: (line, index) => {
      if (!isUnreadable(line)) lines[index] = line;
      events.onLine?.(line, index);
    },
  });
  return { run, lines };
}

/** A family with the encoder that its tokenizer was trained with, whatever the manifest puts in its place, and fit for descent. */
async function loadWithOwnEncoder(set: ModelSet, device: Device, name: FamilyName): Promise<Family> {
  const { rar, var: other } = set.manifest.families;
  if (name === "rar") {
    const source = await openEntry(set.dir, rar.tokenizer, tokenizerSpecs(rar.tokenizer.config));
    try {
      return await loadRarFamily(device, source, rar.tokenizer.config, tracedWeights);
    } finally {
      source.close();
    }
  }
  const source = await openEntry(set.dir, other.tokenizer, vqvaeSpecs(other.tokenizer.config));
  try {
    return await loadVarFamily(device, source, other.tokenizer.config, tracedWeights);
  } finally {
    source.close();
  }
}

async function openEntry(dir: string, entry: WeightEntry, specs: readonly WeightSpec[]): Promise<TensorSource> {
  if ("synthetic" in entry) {
    return syntheticSource(entry.synthetic.salt, new Map(specs.map((spec) => [spec.name, spec.shape])));
  }
  const source = await openCheckpoint(join(dir, entry.file));
  return entry.prefix === undefined ? source : withPrefix(source, entry.prefix);
}
