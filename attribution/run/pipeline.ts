/**
 * The stream from images to lines: images -> signals and tokens -> likelihoods (`measure`) -> verdicts (`attribute`).
 * Each network runs over a whole chunk of images before the next one does, so memory does not grow with the number of
 * images.
 */
import { disposeAll, fromArray, scope } from "../../core/tensor/mod.ts";
import type { FamilyName } from "../../models/family.ts";
import { inAdvance } from "../../util/in_advance.ts";
import { commit, version } from "../../util/version.ts";
import {
  type EvidenceLine,
  type FamilyEvidence,
  isUnreadable,
  type MeasuredLine,
  type MeasurementLine,
} from "../evidence/evidence.ts";
import { UnreadableImageError } from "../images/decode.ts";
import { factsVersion } from "../images/facts/image_facts.ts";
import { ownDecoder } from "../images/decoder/mod.ts";
import { type ImageInput, readContent, toValueRange } from "../images/load.ts";
import { mapFamilies, unreadableLabel } from "../labels.ts";
import { measureVariants } from "./score_variants.ts";
import { searchPoses } from "./search.ts";
import { measureSignals } from "../signals/measure.ts";
import {
  classOf,
  credit,
  expectFinite,
  familyShare,
  isComplete,
  isFinished,
  isRead,
  isSearchNeeded,
  type Item,
  type Measured,
  type MeasureOptions,
  type ReadItem,
  type StreamOptions,
  type Wants,
  yieldToEventLoop,
} from "./image_state.ts";
import { decide, type MethodName, methodOf, type Rules } from "../decision/methods.ts";

export type { Measured, MeasureOptions, Networks, Wants } from "./image_state.ts";

/** What to measure, and how to decide. */
export interface AttributeOptions extends MeasureOptions {
  /** Signals, thresholds and classifiers of the decision. */
  readonly rules: Rules;
  /** sha256 of the calibration file that `rules` come from; null without one. */
  readonly calibrationHash: string | null;
  /** Default `perplexity`. */
  readonly method?: MethodName;
  /** Verdicts with a confidence below this, 0 to 1, are marked `unsure`. Default 0: none. */
  readonly unsureBelow?: number;
}

/**
 * Attributes images and yields one line per image in their order. An image that cannot be read yields an `unreadable`
 * line, and the stream goes on. Errors of devices and networks throw.
 */
export async function* attribute(
  inputs: Iterable<ImageInput> | AsyncIterable<ImageInput>,
  options: AttributeOptions,
): AsyncGenerator<EvidenceLine, void, void> {
  const { method = "perplexity", rules, calibrationHash, unsureBelow = 0 } = options;
  for await (
    const line of measure(inputs, (families, facts) => methodOf(method).wants(families, rules, facts), options)
  ) {
    const custody = { calibration: calibrationHash, judged: new Date().toISOString() };
    if (isUnreadable(line)) yield { ...line, ...custody };
    else {
      const verdict = decide(method, line, rules, unsureBelow);
      const { image, ...measured } = line;
      const { label, finding, confidence, ...rest } = verdict;
      yield { image, label, finding, confidence, ...rest, ...measured, ...custody };
    }
  }
}

/**
 * Measures images as `attribute` does, without deciding. `wants` chooses the families whose variants score an image.
 */
export async function* measure(
  inputs: Iterable<ImageInput> | AsyncIterable<ImageInput>,
  wants: Wants,
  options: MeasureOptions,
): AsyncGenerator<MeasurementLine, void, void> {
  const all = { ...options, wants };
  // While networks run, another process decodes the images of the next pass.
  const items = inAdvance(untilAborted(inputs, options), options.plan.tokenizerBatch, (input) => readItem(input, all));
  try {
    while (!options.signal?.aborted) {
      const { measured, isLast } = await measureItems(items, all);
      yield* linesOf(measured, all);
      if (isLast) return;
    }
  } finally {
    await items.return();
  }
}

async function* untilAborted<T>(
  inputs: Iterable<T> | AsyncIterable<T>,
  { signal }: MeasureOptions,
): AsyncGenerator<T, void, void> {
  for await (const input of inputs) {
    if (signal?.aborted) return;
    yield input;
  }
}

/** Searches a chunk of images that are measured as they are, and yields their lines. */
async function* linesOf(items: readonly Item[], options: StreamOptions): AsyncGenerator<MeasurementLine> {
  // Posed images are kept with the image that they belong to, not by themselves.
  const silent = { recall: undefined, begin: undefined, remember: undefined, onWork: undefined };
  const asItIs = { ...options, ...silent, search: undefined };
  await searchPoses(items.filter(isRead), options, async (posed) => {
    const plan = { ...options.plan, chunk: posed.length };
    const read = inAdvance(posed, plan.tokenizerBatch, (input) => readItem(input, asItIs));
    return (await measureItems(read, { ...asItIs, plan })).measured;
  });
  for (const item of items) {
    if (!isRead(item)) {
      const { reason, message } = item.error;
      yield {
        image: item.input.imageName,
        label: unreadableLabel,
        error: { reason, message },
        ...provenance(options),
      };
    } else if (isFinished(item.measured, options)) yield line(item, options);
  }
}

/** Images that all networks have run over, and whether there are no others. */
interface Chunk {
  readonly measured: readonly Item[];
  readonly isLast: boolean;
}

/**
 * Takes a chunk of images, and runs all networks over them as they are. When the signal is aborted, returns the images
 * whose signals are measured by then.
 */
async function measureItems(items: AsyncGenerator<Item, void, void>, options: StreamOptions): Promise<Chunk> {
  const { plan, signal } = options;
  const taken: Item[] = [];
  let batch: ReadItem[] = [], isLast = false;
  const flush = async () => {
    if (batch.length > 0) await passFamilies(batch, options);
    batch = [];
  };
  while (taken.length < plan.chunk) {
    const { value: item, done } = await items.next();
    isLast = done === true || signal?.aborted === true;
    if (isLast) break;
    taken.push(item!);
    if (isRead(item!) && item.pixels !== undefined) batch.push(item);
    if (batch.length === plan.tokenizerBatch) await flush();
  }
  if (!signal?.aborted) await flush();
  const measured = taken.filter((item) => !isRead(item) || item.measured.families !== undefined);
  await measureVariants(measured.filter(isRead), options);
  return { measured, isLast };
}

/** Reads an image and recalls its measurements. It has pixels if the tokenizers must run. */
async function readItem(input: ImageInput, options: StreamOptions): Promise<Item> {
  const { maxPixels, decoder = ownDecoder } = options;
  try {
    const start = performance.now();
    const { bytes, sha256 } = await readContent(input, maxPixels);
    const recalled = await options.recall?.(sha256);
    const known = recalled && withGivenClass(recalled, input, options) ? recalled : undefined;
    if (known?.families !== undefined && (isComplete(known, options) || known.tokens !== undefined)) {
      const facts = await currentFacts(known, input, bytes, options);
      const notes = input.decoded?.pixels.notes ?? (bytes && await decoder.notes(bytes));
      const measured = Object.assign(known, noted(notes), facts && { facts });
      const item: ReadItem = { input, measured, credited: 0 };
      credit(item, familyShare, options);
      return item;
    }
    const pixels = await decoder.pixels(input, bytes, sizesOf(options), maxPixels);
    const timings = { read: performance.now() - start, families: 0, variants: 0 };
    const { width, height, facts, notes } = pixels;
    // The tokenizers will give the same tokens again, so earlier classes and likelihoods stay valid.
    const { classes, variants = {} } = known ?? {};
    const measured: Measured = {
      ...{ sha256, width, height, ...noted(notes), ...facts && { facts } },
      ...{ ...classes && { classes }, variants, timings },
    };
    withGivenClass(measured, input, options);
    return { input, measured, pixels, credited: 0 };
  } catch (error) {
    if (!(error instanceof UnreadableImageError)) throw error;
    options.onWork?.(1);
    return { input, error };
  }
}

/** Notes as measurements have them: absent where there are none. */
function noted(notes: readonly string[] = []): { notes?: string[] } {
  return notes.length > 0 ? { notes: [...notes] } : {};
}

/** The image sizes that the networks take. */
function sizesOf({ models }: StreamOptions): readonly number[] {
  return Object.values(models.tokenizers).map(({ imageSize }) => imageSize);
}

/** The facts of a recalled image, found again where they were found by other rules. Images in poses have none. */
async function currentFacts(
  { facts }: Measured,
  input: ImageInput,
  bytes: Uint8Array<ArrayBuffer> | undefined,
  options: StreamOptions,
): Promise<Measured["facts"]> {
  if (facts?.version === factsVersion || input.pose !== undefined) return facts;
  const { decoder = ownDecoder, maxPixels } = options;
  return (await decoder.pixels(input, bytes, sizesOf(options), maxPixels)).facts;
}

/**
 * Sets the class that the user gave the image, for all families, if the condition is `given`. Returns false when
 * `measured` has another class: evidence of the same content under another name.
 */
function withGivenClass(measured: Measured, input: ImageInput, { settings, models }: StreamOptions): boolean {
  if (settings.condition !== "given") return true;
  if (input.class === undefined) throw new Error(`${input.imageName}: expected its class (--classes), got none`);
  const known = classOf(measured);
  if (known !== undefined) return known === input.class;
  const given = { top: [{ class: input.class, weight: 1 }], cost: 0 };
  measured.classes = mapFamilies(Object.keys(models.tokenizers), () => given);
  return true;
}

/** Runs all tokenizers over a batch. */
async function passFamilies(batch: readonly ReadItem[], options: StreamOptions): Promise<void> {
  const start = performance.now();
  options.begin?.(batch.map(({ measured }) => measured.sha256));
  const results = {} as Record<FamilyName, FamilyResults>;
  const names = Object.keys(options.models.tokenizers);
  // All are recorded before the first result is waited for.
  await Promise.all(names.map(async (name) => results[name] = await passFamily(name, batch, options)));
  const elapsed = (performance.now() - start) / batch.length;
  batch.forEach((item, i) => {
    const at = (name: FamilyName): FamilyEvidence => {
      const values = Object.entries(results[name].signals).map(([signal, values]) => [signal, values[i]]);
      const evidence = Object.fromEntries(values) as FamilyEvidence;
      expectFinite(`${name} tokenizer`, item.input, evidence);
      return evidence;
    };
    const tokensOf = (name: FamilyName) => {
      const { tokens } = results[name];
      const tokenCount = tokens.length / batch.length;
      return tokens.slice(i * tokenCount, (i + 1) * tokenCount);
    };
    item.measured.families = mapFamilies(names, at);
    item.measured.tokens = mapFamilies(names, tokensOf);
    item.measured.timings.families = elapsed;
    delete item.pixels;
    credit(item, familyShare, options);
  });
  await options.remember?.(batch.map((item) => item.measured));
  await yieldToEventLoop();
}

/** The tokens of a batch, [batch, tokenCount] in a row, and for every signal a number per image. */
interface FamilyResults {
  readonly tokens: Int32Array;
  readonly signals: Readonly<Record<string, Float32Array>>;
}

async function passFamily(
  name: FamilyName,
  batch: readonly ReadItem[],
  { device, models, settings, quantizers }: StreamOptions,
): Promise<FamilyResults> {
  const tokenizer = models.tokenizers[name];
  const size = tokenizer.imageSize;
  const pixels = toValueRange(batch.map((item) => item.pixels!.bySize.get(size)!), tokenizer.valueRange);
  const { tokens, signals } = scope(() => {
    const images = fromArray(device, pixels, [batch.length, size, size, 3]);
    return measureSignals(tokenizer, images, settings.signals, quantizers?.[name]);
  });
  try {
    const names = Object.keys(signals) as (keyof typeof signals)[];
    const [ints, ...values] = await Promise.all([tokens.ints(), ...names.map((name) => signals[name]!.data())]);
    return { tokens: ints, signals: Object.fromEntries(names.map((name, i) => [name, values[i]])) };
  } finally {
    disposeAll([tokens, signals]);
  }
}

/** What every line says of how it came about. */
function provenance({ modelSet, settings }: StreamOptions) {
  return { modelSet, version, ...commit !== undefined && { commit }, settings };
}

function line({ input, measured }: ReadItem, options: StreamOptions): MeasuredLine {
  const search = isSearchNeeded(measured, options) ? measured.searches?.[options.search!.level] : undefined;
  const { sha256, width, height, notes, facts, families, classes, variants, timings } = measured;
  return {
    image: input.imageName,
    ...{ sha256, width, height },
    ...notes && { notes },
    ...facts && { facts },
    ...search && { search },
    ...provenance(options),
    families: families!,
    ...classes && { classes },
    ...{ variants, timings },
  };
}
