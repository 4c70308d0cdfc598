/**
 * Joins the steps into a stream: images -> signals and tokens -> likelihoods (measure) -> verdicts (attribute), in the order
 * of the images. Model-major inside a chunk of bounded size, so memory does not grow with the number of images; files of
 * results, command lines and progress bars are elsewhere.
 */
import { type Device, disposeAll, fromArray, scope } from "../core/tensor/mod.ts";
import type { Family, FamilyName } from "../models/family.ts";
import {
  type ClassEvidence,
  type EvidenceLine,
  type FamilyEvidence,
  isUnreadable,
  type MeasuredLine,
  type MeasurementLine,
  type Measurements,
  type Settings,
  type VariantEvidence,
} from "./evidence.ts";
import { UnreadableImageError } from "./images/decode.ts";
import { decodePixels, type ImageInput, type Pixels, readImageFile, toValueRange, transformedSha256 } from "./input.ts";
import { familyNames, unreadableLabel, variantLabels } from "./labels.ts";
import type { Start } from "./likelihood/class_inference.ts";
import { type ExtraScores, VariantScorer } from "./likelihood/variant_scorer.ts";
import type { LoadedVariant } from "./models.ts";
import type { Plan } from "./plan.ts";
import { measureSignals } from "./signals/measure.ts";
import type { Quantize } from "./signals.ts";
import { decide, type MethodName, methodOf, type Rules } from "./verdict.ts";

/** What was measured of an image so far. Complete once every variant that the method wants is there. */
export interface Measured {
  readonly sha256: string;
  width: number;
  height: number;
  families?: Measurements["families"];
  /** Tokens by family, as long as they may be needed. */
  tokens?: Record<FamilyName, Int32Array>;
  /** By family; once they are there, every variant of the family is run under them. */
  classes?: Partial<Record<FamilyName, ClassEvidence>>;
  variants: Record<string, VariantEvidence>;
  timings: { read: number; families: number; variants: number };
}

/** The networks that a stream runs; models.ts loads those of a set. */
export interface Networks {
  readonly families: Readonly<Record<FamilyName, Family>>;
  withVariant<T>(name: string, body: (loaded: LoadedVariant) => Promise<T>): Promise<T>;
}

export interface MeasureOptions {
  readonly device: Device;
  readonly models: Networks;
  readonly plan: Pick<Plan, "chunk" | "tokenizerBatch" | "variantBatch"> & Partial<Pick<Plan, "scoring">>;
  /** The variants that the set has. */
  readonly variants: Readonly<Record<FamilyName, readonly string[]>>;
  /** Hash of the model set. */
  readonly modelSet: string;
  readonly settings: Settings;
  /** Quantisers in place of the families' own; they must be those that the settings name. */
  readonly quantizers?: Readonly<Partial<Record<FamilyName, Quantize>>>;
  /** Further numbers about an image's tokens, in the evidence beside the summaries; the settings name them. */
  readonly extras?: ExtraScores;
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

/** The families whose variants must be run for an image, given its signals. */
export type Wants = (families: Measurements["families"]) => readonly FamilyName[];

export interface AttributeOptions extends MeasureOptions {
  /** Thresholds and scales to decide by. */
  readonly rules: Rules;
  /** sha256 of the calibration file that they come from. */
  readonly calibrationHash: string | null;
  readonly method?: MethodName;
  /** Verdicts below this confidence are marked `unsure`. Default 0: none. */
  readonly unsureBelow?: number;
}

type StreamOptions = MeasureOptions & { readonly wants: Wants };

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
  const { method = "perplexity", rules, calibrationHash, unsureBelow = 0 } = options;
  for await (const line of measure(inputs, (families) => methodOf(method).wants(families, rules), options)) {
    if (isUnreadable(line)) yield line;
    else {
      const verdict = decide(method, line, rules, unsureBelow);
      const { image, ...measured } = line;
      yield { image, ...verdict, ...measured, calibration: calibrationHash };
    }
  }
}

/** Measures images without deciding anything, as attribute() does: `wants` says whose variants each image is shown. */
export async function* measure(
  inputs: Iterable<ImageInput> | AsyncIterable<ImageInput>,
  wants: Wants,
  options: MeasureOptions,
): AsyncGenerator<MeasurementLine, void, void> {
  let chunk: ImageInput[] = [];
  for await (const input of inputs) {
    if (options.signal?.aborted) return;
    chunk.push(input);
    if (chunk.length < options.plan.chunk) continue;
    yield* measureChunk(chunk, { ...options, wants });
    chunk = [];
  }
  if (chunk.length > 0 && !options.signal?.aborted) yield* measureChunk(chunk, { ...options, wants });
}

async function* measureChunk(inputs: readonly ImageInput[], options: StreamOptions): AsyncGenerator<MeasurementLine> {
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
async function measureFamilies(inputs: readonly ImageInput[], options: StreamOptions): Promise<Item[]> {
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
      const { augmentation, decoded } = input;
      const { bytes, sha256: own } = decoded === undefined
        ? await readImageFile(input.path, maxPixels)
        : { bytes: undefined, sha256: decoded.sha256 };
      const sha256 = augmentation === undefined ? own : await transformedSha256(own, augmentation);
      const found = await options.recall?.(sha256);
      const known = found && withGivenClass(found, input, options) ? found : undefined;
      if (known !== undefined && (isComplete(known, options) || known.tokens !== undefined)) {
        const item: ReadItem = { input, measured: known, credited: 0 };
        items.push(item);
        credit(item, familyShare, options);
        continue;
      }
      const pixels = bytes === undefined ? decoded!.pixels : await decodePixels(bytes, sizes, maxPixels, augmentation);
      const timings = { read: performance.now() - start, families: 0, variants: 0 };
      const { width, height } = pixels;
      const item: ReadItem = { input, measured: { sha256, width, height, variants: {}, timings }, pixels, credited: 0 };
      withGivenClass(item.measured, input, options);
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

/**
 * Gives an image the class that the user says, for both families. False where it was measured under another one, when it
 * went by another name.
 */
function withGivenClass(measured: Measured, input: ImageInput, { settings }: StreamOptions): boolean {
  if (settings.condition !== "given") return true;
  if (input.class === undefined) throw new Error(`${input.imageName}: expected its class (--classes), got none`);
  const known = measured.classes?.rar?.top[0].class;
  if (known !== undefined) return known === input.class;
  const own = { top: [{ class: input.class, weight: 1 }], cost: 0 };
  measured.classes = { rar: own, var: own };
  return true;
}

/** Share of an image's work that the tokenizers count for, in progress reports. */
const familyShare = 0.5;

/** Reports progress: of this image, the share `done` (0 to 1) is behind us. */
function credit(item: ReadItem, done: number, { onWork }: StreamOptions): void {
  onWork?.(done - item.credited);
  item.credited = done;
}

/** One pass of both tokenizers over a batch. */
async function passFamilies(batch: readonly ReadItem[], options: StreamOptions): Promise<void> {
  const start = performance.now();
  const results = {} as Record<FamilyName, FamilyResults>;
  for (const name of familyNames) results[name] = await passFamily(name, batch, options);
  const elapsed = (performance.now() - start) / batch.length;
  batch.forEach((item, i) => {
    const at = (name: FamilyName): FamilyEvidence => {
      const values = Object.entries(results[name].signals).map(([signal, values]) => [signal, values[i]]);
      const evidence = Object.fromEntries(values) as FamilyEvidence;
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

/** Tokens of a batch one after the other, and a number per image for every signal. */
interface FamilyResults {
  readonly tokens: Int32Array;
  readonly signals: Readonly<Record<string, Float32Array>>;
}

async function passFamily(
  name: FamilyName,
  batch: readonly ReadItem[],
  { device, models, settings, quantizers }: StreamOptions,
): Promise<FamilyResults> {
  const family = models.families[name];
  const size = family.imageSize;
  const pixels = toValueRange(batch.map((item) => item.pixels!.bySize.get(size)!), family.valueRange);
  const { tokens, signals } = scope(() => {
    const images = fromArray(device, pixels, [batch.length, size, size, 3]);
    return measureSignals(family, images, settings.signals, quantizers?.[name]);
  });
  try {
    const names = Object.keys(signals) as (keyof typeof signals)[];
    const [ints, ...values] = await Promise.all([tokens.ints(), ...names.map((name) => signals[name]!.data())]);
    return { tokens: ints, signals: Object.fromEntries(names.map((name, i) => [name, values[i]])) };
  } finally {
    disposeAll([tokens, signals]);
  }
}

/** Runs every variant over the images for which the method wants it and which it has not seen yet. */
async function measureVariants(items: readonly ReadItem[], options: StreamOptions): Promise<void> {
  const { signal, settings } = options;
  if (settings.condition === "infer") await measureClasses(items, options);
  const wanted = new Map(items.map((item) => [item, wantedVariants(item.measured, options)]));
  for (const name of familyNames.flatMap((family) => options.variants[family])) {
    const waiting = items.filter((item) => wanted.get(item)!.includes(name) && !(name in item.measured.variants));
    if (waiting.length === 0 || signal?.aborted) continue;
    await withScorer(name, options, async (scorer, batch) => {
      // With a condition, an image takes the place of two; those of one class share what depends on it.
      const size = settings.condition === "none" ? batch : Math.max(1, batch >> 1);
      const first = ({ measured }: ReadItem) => measured.classes?.[scorer.family]?.top[0].class ?? -1;
      const sorted = [...waiting].sort((a, b) => first(a) - first(b));
      for (let at = 0; at < sorted.length && !signal?.aborted; at += size) {
        await passVariant(name, scorer, sorted.slice(at, at + size), options);
      }
    });
  }
  for (const item of items) {
    if (!isComplete(item.measured, options)) continue;
    delete item.measured.tokens;
    credit(item, 1, options);
  }
}

/** Tokens of a batch in a row. */
function tokensOf(batch: readonly ReadItem[], family: FamilyName, n: number): Int32Array {
  const ids = new Int32Array(batch.length * n);
  batch.forEach((item, i) => ids.set(item.measured.tokens![family], i * n));
  return ids;
}

/** Runs `body` with a loaded variant as a scorer, and with the number of images that go through it at once. */
async function withScorer(
  name: string,
  { device, models, plan, settings, extras }: StreamOptions,
  body: (scorer: VariantScorer, batch: number) => Promise<void>,
): Promise<void> {
  await models.withVariant(name, async (loaded) => {
    const batch = plan.variantBatch.get(name) ?? 1;
    const family = models.families[loaded.variant.family];
    const { inference } = settings;
    const own = { batch, ...plan.scoring?.get(name), inference, extras };
    const scorer = new VariantScorer(device, family, loaded, own);
    try {
      await body(scorer, batch);
    } finally {
      scorer.dispose();
    }
  });
}

/**
 * Infers what images may show, for every family that the method wants and where it is not known yet, by the smallest
 * variant of each family. VAR comes first, also for images that only RAR is wanted for: its coarse scales are where RAR
 * begins, as long as both have the same number of classes.
 */
async function measureClasses(items: readonly ReadItem[], options: StreamOptions): Promise<void> {
  const { signal, variants, wants } = options;
  const lacking = (family: FamilyName) =>
    items.filter(({ measured }) =>
      wants(measured.families!).includes(family) && measured.classes?.[family] === undefined &&
      !isComplete(measured, options)
    );
  const waiting = { rar: lacking("rar"), var: lacking("var") };
  const starts = new Map<ReadItem, Start>();
  let classes = 0;
  const batches = async (
    own: readonly ReadItem[],
    size: number,
    pass: (batch: readonly ReadItem[]) => Promise<void>,
  ) => {
    for (let at = 0; at < own.length && !signal?.aborted; at += size) await pass(own.slice(at, at + size));
  };
  const others = waiting.rar.filter((item) => !waiting.var.includes(item));
  if (variants.var.length > 0 && waiting.var.length + others.length > 0 && !signal?.aborted) {
    await withScorer(variants.var[0], options, async (scorer, size) => {
      classes = scorer.classes;
      await batches(waiting.var, size, (batch) => passClasses(scorer, batch, starts, options));
      await batches(others, size, async (batch) => {
        const begin = performance.now();
        const found = await scorer.infer(tokensOf(batch, "var", scorer.tokenCount), { coarseOnly: true });
        const elapsed = (performance.now() - begin) / batch.length;
        batch.forEach((item, i) => {
          starts.set(item, found[i].coarse!);
          item.measured.timings.variants += elapsed;
        });
        await letSignalsIn();
      });
    });
  }
  if (variants.rar.length > 0 && waiting.rar.length > 0 && !signal?.aborted) {
    await withScorer(variants.rar[0], options, async (scorer, size) => {
      const known = classes === scorer.classes ? starts : new Map<ReadItem, Start>();
      await batches(waiting.rar, size, (batch) => passClasses(scorer, batch, known, options));
    });
  }
}

/** Infers the classes of a batch, from where `starts` has come for RAR, to which VAR adds. */
async function passClasses(
  scorer: VariantScorer,
  batch: readonly ReadItem[],
  starts: Map<ReadItem, Start>,
  options: StreamOptions,
): Promise<void> {
  const begin = performance.now();
  const { family } = scorer;
  const start = family === "rar" && starts.size > 0 ? batch.map((item) => starts.get(item)!) : undefined;
  const inferred = await scorer.infer(tokensOf(batch, family, scorer.tokenCount), { start });
  const elapsed = (performance.now() - begin) / batch.length;
  batch.forEach((item, i) => {
    const { top, cost, coarse } = inferred[i];
    if (coarse !== undefined) starts.set(item, coarse);
    item.measured.classes = { ...item.measured.classes, [family]: { top: [...top], cost } };
    item.measured.timings.variants += elapsed;
  });
  await options.remember?.(batch.map((item) => item.measured));
  await letSignalsIn();
}

/** One pass of a variant over the tokens of a batch, under the classes of each image where there are any. */
async function passVariant(
  name: string,
  scorer: VariantScorer,
  batch: readonly ReadItem[],
  options: StreamOptions,
): Promise<void> {
  const start = performance.now();
  const n = scorer.tokenCount;
  const classes = batch.map(({ measured }) => measured.classes?.[scorer.family]?.top ?? []);
  const summaries = await scorer.summarise(tokensOf(batch, scorer.family, n), classes);
  const elapsed = (performance.now() - start) / batch.length;
  batch.forEach((item, i) => {
    expectFinite(name, item.input, summaries[i]);
    const meanLogProb = Math.min(0, summaries[i]["conditional.mean"]); // rounding may put a certain token above 0
    const perplexity = summaries[i]["conditional.perplexity"];
    item.measured.variants[name] = { tokens: n, meanLogProb, perplexity, summaries: summaries[i] };
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

function wantedVariants({ families }: Measured, { wants, variants }: StreamOptions): readonly string[] {
  return families === undefined ? [] : wants(families).flatMap((family) => variants[family]);
}

function isComplete(measured: Measured, options: StreamOptions): boolean {
  return measured.families !== undefined &&
    wantedVariants(measured, options).every((name) => name in measured.variants);
}

function line({ input, measured }: ReadItem, { modelSet, settings }: StreamOptions): MeasuredLine {
  const { sha256, width, height, families, classes, variants, timings } = measured;
  return {
    image: input.imageName,
    ...{ sha256, width, height, modelSet, settings },
    families: families!,
    ...classes && { classes },
    ...{ variants, timings },
  };
}

/** Numbers that are not finite would turn into a verdict silently: weights are broken, or a device is. */
function expectFinite(network: string, input: ImageInput, values: Readonly<Record<string, number | undefined>>): void {
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
