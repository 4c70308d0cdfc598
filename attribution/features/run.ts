/**
 * Everything that can be known of images: signals of both tokenizers and the tokens' scores under all variants of both
 * families, with a journal from which a run resumes. Fitting and the table of features are made of it; it decides nothing.
 */
import { type DeviceName, openDevice } from "../../core/open_device.ts";
import type { ModelSet } from "../../models/model_set.ts";
import {
  type ConditionName,
  isUnreadable,
  type MeasuredLine,
  type MeasurementLine,
  type Settings,
} from "../evidence.ts";
import type { TokenizerRunEvents } from "../evaluation/tokenizer_run.ts";
import type { ImageInput } from "../input.ts";
import { familyNames } from "../labels.ts";
import { defaultInference, type InferenceSettings } from "../likelihood/class_inference.ts";
import type { ExtraScores } from "../likelihood/variant_scorer.ts";
import { Models } from "../models.ts";
import { measure, variantsOf } from "../pipeline.ts";
import { planMemory } from "../plan.ts";
import { Report } from "../report.ts";
import { openQuantizer, type QuantizerName } from "../signals/quantizers.ts";
import type { SignalLevel } from "../signals/table.ts";

export interface FeatureRunOptions {
  readonly quantization: QuantizerName;
  readonly signals: Exclude<SignalLevel, "baselines">;
  /** Of the likelihoods. `given` needs images with classes. */
  readonly condition: ConditionName;
  readonly extras?: ExtraScores;
  /** How classes are inferred, where they are. */
  readonly inference?: InferenceSettings;
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

export interface FeatureRun {
  /** False when it was interrupted. */
  readonly done: boolean;
  readonly settings: Settings;
  readonly deviceName: string;
  /** In the order of the images; undefined for those that could not be read, or were not reached. */
  readonly lines: readonly (MeasuredLine | undefined)[];
}

/** Measures images in their order. Throws before any work when memory, weights or the journal's folder do not allow it. */
export async function runFeatures(
  set: ModelSet,
  images: readonly ImageInput[],
  options: FeatureRunOptions,
  events: TokenizerRunEvents = {},
): Promise<FeatureRun> {
  const { weightType = "f32", signal, quantization, signals, condition, extras, inference = defaultInference } =
    options;
  const variants = variantsOf(set);
  await using cleanup = new AsyncDisposableStack();
  const device = await openDevice(options.device ?? "auto", { threads: options.threads });
  cleanup.defer(() => device.close());
  if (device.info.software) events.onNote?.(`using a software adapter: ${device.info.name}`);
  const classes = condition !== "none";
  const plan = planMemory(set, device, { memoryBytes: options.memoryBytes, weightType, classes });
  const settings: Settings = {
    condition,
    summaries: "summaries/1",
    ...condition === "infer" && { inference },
    ...extras !== undefined && { extras: extras.id },
    quantization,
    signals,
    device: device.info.kind,
    weightType,
  };
  const report = options.report === undefined
    ? undefined
    : await Report.open(options.report, { modelSet: set.hash, settings }, options.resume ?? false);
  cleanup.defer(() => report?.close());
  const models = await Models.open(set, device, plan, {
    weightType,
    onLoad: (name) => events.onPrepare?.(`loading ${name}`),
  });
  cleanup.defer(() => models.dispose());
  const rar = await openQuantizer(quantization, models.families.rar);
  cleanup.defer(() => rar.dispose());
  const other = await openQuantizer(quantization, models.families.var);
  cleanup.defer(() => other.dispose());

  const lines: (MeasuredLine | undefined)[] = images.map(() => undefined);
  let reached = 0, unreadable = 0, worked = 0;
  const started = new Date().toISOString();
  const summary = (status: string) => ({
    status,
    images: { total: images.length, measured: reached - unreadable, unreadable },
    modelSet: set.hash,
    settings,
    device: device.info.name,
    started,
  });
  events.onStart?.(images.length);
  try {
    const stream = measure(images, () => familyNames, {
      ...{ device, models, plan, variants, settings, extras, signal },
      modelSet: set.hash,
      quantizers: { rar: rar.quantize, var: other.quantize },
      maxPixels: options.maxPixels,
      recall: report && ((sha256) => report.recall(sha256)),
      remember: report && ((measured) => report.remember(measured)),
      onWork: (images) => events.onProgress?.(worked += images),
    });
    for await (const line of stream) {
      await report?.add(line);
      events.onLine?.(line as MeasurementLine, reached);
      if (isUnreadable(line)) unreadable++;
      else lines[reached] = line;
      reached++;
    }
  } catch (error) {
    await report?.pause(summary("failed"));
    throw error;
  }
  const done = reached === images.length;
  if (done) await report?.finish(summary("done"));
  else await report?.pause(summary("interrupted"));
  return { done, settings, deviceName: device.info.name, lines };
}
