/**
 * Joins the steps into a stream: images -> signals and tokens -> likelihoods -> verdicts, in the order of the images.
 * Model-major inside a chunk of bounded size, so memory does not grow with the number of images; files of results, command
 * lines and progress bars are elsewhere.
 */
import { type Device, disposeAll, fromArray, scope } from "../core/tensor/mod.ts";
import type { FamilyName } from "../models/family.ts";
import type { Calibration } from "./calibration.ts";
import type { EvidenceLine, FamilyEvidence, Measurements, Settings, VariantEvidence } from "./evidence.ts";
import { UnreadableImageError } from "./images/decode.ts";
import { decodePixels, type ImageInput, type Pixels, readImageFile, toValueRange } from "./input.ts";
import { familyNames, unreadableLabel, variantLabels } from "./labels.ts";
import { summarize, tokenLogProbs } from "./likelihood.ts";
import type { Models } from "./models.ts";
import type { Plan } from "./plan.ts";
import { familySignals } from "./signals.ts";
import { decide, type MethodName, methods } from "./verdict.ts";

/** What was measured of an image so far. Complete once every variant that the method wants is there. */
export interface Measured {
  readonly sha256: string;
  width: number;
  height: number;
  families?: Measurements["families"];
  /** Tokens by family, as long as they may be needed. */
  tokens?: Record<FamilyName, Int32Array>;
  variants: Record<string, VariantEvidence>;
  timings: { read: number; families: number; variants: number };
}

export interface AttributeOptions {
  readonly device: Device;
  readonly models: Models;
  readonly plan: Plan;
  /** Hash of the model set. */
  readonly modelSet: string;
  /** The variants that the set has. */
  readonly variants: Readonly<Record<FamilyName, readonly string[]>>;
  readonly calibration: Calibration;
  readonly calibrationHash: string | null;
  readonly settings: Settings;
  readonly method?: MethodName;
  /** Verdicts below this confidence are marked `unsure`. Default 0: none. */
  readonly unsureBelow?: number;
  readonly maxPixels?: number;
  /** Once aborted, the pass in progress is finished, what is complete comes out, and the stream ends. */
  readonly signal?: AbortSignal;
  /** What is known of an image with this content from an earlier run, under the same model set and settings. */
  readonly recall?: (sha256: string) => Promise<Measured | undefined>;
  /** Receives what was measured of images that are not complete yet, whenever a pass is done. */
  readonly remember?: (measured: readonly Measured[]) => Promise<void>;
  /** Receives the work done, counted in images. */
  readonly onWork?: (images: number) => void;
}

type Item =
  | { readonly input: ImageInput; readonly error: UnreadableImageError }
  | { readonly input: ImageInput; readonly measured: Measured; pixels?: Pixels; credited: number };

type ReadItem = Extract<Item, { measured: Measured }>;

/**
 * Attributes images, yielding one line per image in their order. An image that cannot be read yields an `unreadable` line
 * and the stream goes on; anything else that fails (a device, a network) throws.
 */
export async function* attribute(
  inputs: Iterable<ImageInput> | AsyncIterable<ImageInput>,
  options: AttributeOptions,
): AsyncGenerator<EvidenceLine, void, void> {
  let chunk: ImageInput[] = [];
  for await (const input of inputs) {
    if (options.signal?.aborted) return;
    chunk.push(input);
    if (chunk.length < options.plan.chunk) continue;
    yield* attributeChunk(chunk, options);
    chunk = [];
  }
  if (chunk.length > 0 && !options.signal?.aborted) yield* attributeChunk(chunk, options);
}

async function* attributeChunk(inputs: readonly ImageInput[], options: AttributeOptions): AsyncGenerator<EvidenceLine> {
  const items = await measureFamilies(inputs, options);
  await measureVariants(items.filter(isRead), options);
  for (const item of items) {
    if (!isRead(item)) {
      const { reason, message } = item.error;
      yield { image: item.input.imageName, label: unreadableLabel, error: { reason, message } };
    } else if (isComplete(item.measured, options)) yield line(item, options);
  }
}

function isRead(item: Item): item is ReadItem {
  return "measured" in item;
}

/** Reads the images and runs both tokenizers. Stops early, with the items so far, when the signal is aborted. */
async function measureFamilies(inputs: readonly ImageInput[], options: AttributeOptions): Promise<Item[]> {
  const { plan, signal, models, maxPixels } = options;
  const sizes = familyNames.map((name) => models.families[name].imageSize);
  const items: Item[] = [];
  let batch: ReadItem[] = [];
  const flush = async () => {
    if (batch.length > 0) await passFamilies(batch, options);
    batch = [];
  };
  for (const input of inputs) {
    if (signal?.aborted) return items.filter((item) => !isRead(item) || item.measured.families !== undefined);
    try {
      const start = performance.now();
      const { bytes, sha256 } = await readImageFile(input.path, maxPixels);
      const known = await options.recall?.(sha256);
      if (known !== undefined && (isComplete(known, options) || known.tokens !== undefined)) {
        const item: ReadItem = { input, measured: known, credited: 0 };
        items.push(item);
        credit(item, familyShare, options);
        continue;
      }
      const pixels = await decodePixels(bytes, sizes, maxPixels);
      const timings = { read: performance.now() - start, families: 0, variants: 0 };
      const { width, height } = pixels;
      const item: ReadItem = { input, measured: { sha256, width, height, variants: {}, timings }, pixels, credited: 0 };
      items.push(item);
      batch.push(item);
    } catch (error) {
      if (!(error instanceof UnreadableImageError)) throw error;
      items.push({ input, error });
      options.onWork?.(1);
    }
    if (batch.length === plan.tokenizerBatch) await flush();
  }
  if (!signal?.aborted) await flush();
  return items.filter((item) => !isRead(item) || item.measured.families !== undefined);
}

/** Share of an image's work that the tokenizers count for, in progress reports. */
const familyShare = 0.5;

/** Reports progress: of this image, the share `done` (0 to 1) is behind us. */
function credit(item: ReadItem, done: number, { onWork }: AttributeOptions): void {
  onWork?.(done - item.credited);
  item.credited = done;
}

/** One pass of both tokenizers over a batch. */
async function passFamilies(batch: readonly ReadItem[], options: AttributeOptions): Promise<void> {
  const start = performance.now();
  const results = {} as Record<FamilyName, { tokens: Int32Array; signals: Record<keyof FamilyEvidence, Float32Array> }>;
  for (const name of familyNames) results[name] = await passFamily(name, batch, options);
  const elapsed = (performance.now() - start) / batch.length;
  batch.forEach((item, i) => {
    const at = (name: FamilyName): FamilyEvidence => {
      const { quantLoss, encLoss, encLossUncalibrated, combined } = results[name].signals;
      const evidence = {
        quantLoss: quantLoss[i],
        encLoss: encLoss[i],
        encLossUncalibrated: encLossUncalibrated[i],
        combined: combined[i],
      };
      expectFinite(`${name} tokenizer`, item.input, evidence);
      return evidence;
    };
    const own = (name: FamilyName) => {
      const { tokens } = results[name];
      const each = tokens.length / batch.length;
      return tokens.slice(i * each, (i + 1) * each);
    };
    item.measured.families = { rar: at("rar"), var: at("var") };
    item.measured.tokens = { rar: own("rar"), var: own("var") };
    item.measured.timings.families = elapsed;
    delete item.pixels;
    credit(item, familyShare, options);
  });
  await options.remember?.(batch.map((item) => item.measured));
  await letSignalsIn();
}

async function passFamily(name: FamilyName, batch: readonly ReadItem[], { device, models }: AttributeOptions) {
  const family = models.families[name];
  const size = family.imageSize;
  const pixels = toValueRange(batch.map((item) => item.pixels!.bySize.get(size)!), family.valueRange);
  const { tokens, signals } = scope(() =>
    familySignals(family, fromArray(device, pixels, [batch.length, size, size, 3]))
  );
  try {
    const [ints, quantLoss, encLoss, encLossUncalibrated, combined] = await Promise.all([
      tokens.ints(),
      signals.quantLoss.data(),
      signals.encLoss.data(),
      signals.encLossUncalibrated.data(),
      signals.combined.data(),
    ]);
    return { tokens: ints, signals: { quantLoss, encLoss, encLossUncalibrated, combined } };
  } finally {
    disposeAll([tokens, ...Object.values(signals)]);
  }
}

/** Runs every variant over the images for which the method wants it and which it has not seen yet. */
async function measureVariants(items: readonly ReadItem[], options: AttributeOptions): Promise<void> {
  const { plan, signal, models } = options;
  const wanted = new Map(items.map((item) => [item, wantedVariants(item.measured, options)]));
  for (const name of familyNames.flatMap((family) => options.variants[family])) {
    const waiting = items.filter((item) => wanted.get(item)!.includes(name) && !(name in item.measured.variants));
    if (waiting.length === 0 || signal?.aborted) continue;
    await models.withVariant(name, async (loaded) => {
      const size = plan.variantBatch.get(name) ?? 1;
      for (let at = 0; at < waiting.length && !signal?.aborted; at += size) {
        await passVariant(name, loaded, waiting.slice(at, at + size), options);
      }
    });
  }
  for (const item of items) {
    if (!isComplete(item.measured, options)) continue;
    delete item.measured.tokens;
    credit(item, 1, options);
  }
}

/** One pass of a variant over the tokens of a batch. */
async function passVariant(
  name: string,
  { variant, condition }: Parameters<Parameters<Models["withVariant"]>[1]>[0],
  batch: readonly ReadItem[],
  options: AttributeOptions,
): Promise<void> {
  const start = performance.now();
  const family = options.models.families[variant.family];
  const n = family.tokenCount;
  const ids = new Int32Array(batch.length * n);
  batch.forEach((item, i) => ids.set(item.measured.tokens![variant.family], i * n));
  const result = scope(() => {
    const tokens = fromArray(options.device, ids, [batch.length, n]);
    return tokenLogProbs(variant, family.transformerInput(tokens), tokens, condition);
  });
  let logProbs: Float32Array;
  try {
    logProbs = await result.data();
  } finally {
    result.dispose();
  }
  const elapsed = (performance.now() - start) / batch.length;
  batch.forEach((item, i) => {
    const likelihood = summarize(logProbs.subarray(i * n, (i + 1) * n));
    expectFinite(name, item.input, { meanLogProb: likelihood.meanLogProb, perplexity: likelihood.perplexity });
    item.measured.variants[name] = { tokens: n, ...likelihood };
    item.measured.timings.variants += elapsed;
    const wanted = wantedVariants(item.measured, options);
    const done = wanted.filter((label) => label in item.measured.variants).length;
    credit(item, familyShare + (1 - familyShare) * done / wanted.length, options);
  });
  await options.remember?.(batch.map((item) => item.measured));
  await letSignalsIn();
}

/** Signals of the operating system are seen only between two turns of the event loop, which a CPU device never gives up. */
function letSignalsIn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}

function wantedVariants({ families }: Measured, { method = "perplexity", calibration, variants }: AttributeOptions) {
  if (families === undefined) return [];
  return methods[method].wants(families, calibration).flatMap((family) => variants[family]);
}

function isComplete(measured: Measured, options: AttributeOptions): boolean {
  return measured.families !== undefined &&
    wantedVariants(measured, options).every((name) => name in measured.variants);
}

function line({ input, measured }: ReadItem, options: AttributeOptions): EvidenceLine {
  const { method = "perplexity", calibration, calibrationHash, unsureBelow = 0, modelSet, settings } = options;
  const { sha256, width, height, families, variants, timings } = measured;
  const measurements: Measurements = { families: families!, variants };
  return {
    image: input.imageName,
    ...decide(method, measurements, calibration, unsureBelow),
    sha256,
    width,
    height,
    modelSet,
    calibration: calibrationHash,
    settings,
    ...measurements,
    timings,
  };
}

/** Numbers that are not finite would turn into a verdict silently: weights are broken, or a device is. */
function expectFinite(network: string, input: ImageInput, values: Readonly<Record<string, number>>): void {
  for (const [name, value] of Object.entries(values)) {
    if (!Number.isFinite(value)) {
      throw new Error(
        `${network}: ${name} of ${input.imageName} is ${value}: the weights are damaged, or out of range`,
      );
    }
  }
}

/** The variants of a set by family, in the order of the labels. Throws on names that are not labels. */
export function variantsOf(set: { variants(family: FamilyName): readonly string[] }): Record<FamilyName, string[]> {
  const ordered = (family: FamilyName) => {
    const known: readonly string[] = variantLabels[family];
    for (const name of set.variants(family)) {
      if (!known.includes(name)) {
        throw new Error(
          `families.${family}.variants.${name}: expected one of ${known.join(", ")} (a label), got ${name}`,
        );
      }
    }
    return known.filter((name) => set.variants(family).includes(name));
  };
  return { rar: ordered("rar"), var: ordered("var") };
}
