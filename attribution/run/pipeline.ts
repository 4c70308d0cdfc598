/**
 * The stream from images to lines: images -> signals and tokens -> likelihoods (`measure`) -> verdicts (`attribute`).
 * Each network runs over a whole chunk of images before the next one does, so memory does not grow with the number of
 * images.
 */
import { disposeAll, fromArray, scope } from "../../core/tensor/mod.ts";
import type { FamilyName } from "../../models/family.ts";
import { yieldToEventLoop } from "../../util/event_loop.ts";
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
import { type ImageInput, type Pixels, readContent, toValueRange } from "../images/load.ts";
import { mapFamilies, unreadableLabel } from "../labels.ts";
import { rememberedSearch, rememberedWants } from "./remembered.ts";
import { measureVariants } from "./score_variants.ts";
import { searchPoses } from "./search.ts";
import { measureSignals } from "../signals/measure.ts";
import {
  classOf,
  credit,
  expectFinite,
  isComplete,
  isFinished,
  isRead,
  isSearchNeeded,
  type Item,
  type Measured,
  type MeasureOptions,
  type NetworkOptions,
  type ReadItem,
  type Ready,
  type StreamOptions,
  type Wants,
} from "./image_state.ts";
import { posedStage, tokenizerStage } from "./work_stages.ts";
import { decide, type MethodName, methodOf, type Rules } from "../decision/methods.ts";

export type { Measured, MeasureOptions, Networks, Ready, Wants } from "./image_state.ts";

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
 * Networks are opened when the first image needs one: of a stream that is all recalled, none is.
 */
export async function* measure(
  inputs: Iterable<ImageInput> | AsyncIterable<ImageInput>,
  wants: Wants,
  options: MeasureOptions,
): AsyncGenerator<MeasurementLine, void, void> {
  const { search } = options;
  const all = { ...options, wants: rememberedWants(wants), search: search && rememberedSearch(search) };
  // While networks run, another process decodes the images of the next pass.
  const items = inAdvance(untilAborted(inputs, options), readAhead(options), (input) => readItem(input, all));
  try {
    while (!options.signal?.aborted) {
      const { measured, isLast, open } = await measureItems(items, all);
      yield* linesOf(measured, all, open);
      if (isLast) return;
    }
  } finally {
    await items.return();
  }
}

/** Images that are read before they are needed: of a pass, where its size is known. */
function readAhead({ networks }: MeasureOptions): number {
  return typeof networks === "function" ? usualPass : networks.plan.tokenizerBatch;
}

/** Images of a pass of tokenizers, where memory allows. */
const usualPass = 16;
/** Images per chunk, as long as all of them are recalled. */
const recalledChunk = 64;

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
async function* linesOf(
  items: readonly Item[],
  options: StreamOptions,
  open: NetworkOptions | undefined,
): AsyncGenerator<MeasurementLine> {
  if (open !== undefined) await search(items, open);
  for (const item of items) {
    if (!isRead(item)) {
      const { reason, message } = item.error;
      options.work?.finish(false);
      yield {
        image: item.input.imageName,
        label: unreadableLabel,
        error: { reason, message },
        ...provenance(options),
      };
    } else if (isFinished(item.measured, options)) {
      options.work?.finish(item.isRecalled);
      yield line(item, options);
    }
  }
}

async function search(items: readonly Item[], options: NetworkOptions): Promise<void> {
  const { work, posed } = options;
  // Posed images are kept with the image that they belong to, not by themselves.
  const silent = { recall: undefined, begin: undefined, remember: undefined, onWork: undefined, posed: undefined };
  const asItIs: NetworkOptions = {
    ...{ ...options, ...silent, ...posed, search: undefined },
    work: work && {
      flopsOf: (stage) => work.flopsOf(stage),
      batchOf: (stage, most) => work.batchOf(stage, most),
      // Whether poses are measured is decided by the search.
      expect: (stage, images) => work.expect(posedStage(stage), images, 0),
      add: (stage, images) => work.add(posedStage(stage), images),
      finish: () => {},
    },
  };
  await searchPoses(items.filter(isRead), options, async (inputs) => {
    const { device, models, plan, quantizers } = options;
    const networks = { device, models, quantizers, plan: { ...plan, chunk: inputs.length } };
    for (const family of Object.keys(options.tokenizers)) {
      const judged = inputs.filter(({ decoded }) => judges(family, decoded!.pixels, options));
      asItIs.work?.expect(tokenizerStage(family), judged.length, 0);
    }
    const read = inAdvance(inputs, plan.tokenizerBatch, (input) => readItem(input, asItIs));
    return (await measureItems(read, { ...asItIs, networks })).measured;
  });
}

/** Images that all networks have run over, and whether there are no others. */
interface Chunk {
  readonly measured: readonly Item[];
  readonly isLast: boolean;
  /** The networks, if an image needed one. */
  readonly open?: NetworkOptions;
}

/** Whether a network must run for an image. */
function needsNetworks(item: Item, options: StreamOptions): boolean {
  return isRead(item) && (item.pixels !== undefined || !isFinished(item.measured, options));
}

/**
 * Takes a chunk of images, and runs all networks over them as they are. When the signal is aborted, returns the images
 * whose signals are measured by then.
 */
async function measureItems(items: AsyncGenerator<Item, void, void>, options: StreamOptions): Promise<Chunk> {
  const { signal, work } = options;
  const taken: Item[] = [];
  let batch: ReadItem[] = [], isLast = false, open: NetworkOptions | undefined;
  const flush = async () => {
    if (batch.length > 0) await passFamilies(batch, open!);
    batch = [];
  };
  const batchSize = () => {
    const most = open!.plan.tokenizerBatch;
    const sizes = Object.keys(options.tokenizers).map((family) => work?.batchOf(tokenizerStage(family), most) ?? most);
    return Math.min(...sizes);
  };
  while (taken.length < (open?.plan.chunk ?? recalledChunk)) {
    const { value: item, done } = await items.next();
    isLast = done === true || signal?.aborted === true;
    if (isLast) break;
    taken.push(item!);
    if (needsNetworks(item!, options)) open ??= { ...options, ...await readyOf(options) };
    if (isRead(item!) && item.pixels !== undefined) batch.push(item);
    if (batch.length > 0 && batch.length >= batchSize()) await flush();
  }
  if (!signal?.aborted) await flush();
  const measured = taken.filter((item) => !isRead(item) || item.measured.families !== undefined);
  if (open !== undefined) await measureVariants(measured.filter(isRead), open);
  return { measured, isLast, open };
}

async function readyOf({ networks }: MeasureOptions): Promise<Ready> {
  return typeof networks === "function" ? await networks() : networks;
}

/** Reads an image and recalls its measurements. It has pixels if the tokenizers must run. */
async function readItem(input: ImageInput, options: StreamOptions): Promise<Item> {
  const { maxPixels, decoder = ownDecoder, hashes } = options;
  try {
    const start = performance.now();
    const remembered = hashes?.recall(input);
    let content = remembered === undefined ? await readContent(input, maxPixels) : undefined;
    const sha256 = content?.sha256 ?? remembered!;
    const recalled = await options.recall?.(sha256);
    const known = recalled && withGivenClass(recalled, input, options) ? recalled : undefined;
    const isMeasured = known?.families !== undefined && (isComplete(known, options) || known.tokens !== undefined);
    if (isMeasured && hasCurrentFacts(known, input)) return recalledItem(input, known, options);
    content ??= await readContent(input, maxPixels);
    // The file was replaced a moment ago.
    if (content.sha256 !== sha256) return await readItem(input, { ...options, hashes: undefined });
    const { bytes } = content;
    if (isMeasured) {
      // Notes are of the file's content, as facts are, and are found again with them.
      const { notes, facts } = await decoder.pixels(input, bytes, sizesOf(options), maxPixels);
      return recalledItem(input, Object.assign(known, { ...noted(notes), ...facts && { facts } }), options);
    }
    const pixels = await decoder.pixels(input, bytes, sizesOf(options), maxPixels);
    const timings = { read: performance.now() - start, families: 0, variants: 0 };
    const { width, height, facts, notes } = pixels;
    // The tokenizers will give the same tokens again, so earlier classes and likelihoods stay valid.
    const { classes, starts, found, partial, variants = {} } = known ?? {};
    const measured: Measured = {
      ...{ sha256, width, height, ...noted(notes), ...facts && { facts } },
      ...{ ...classes && { classes }, ...starts && { starts }, ...found && { found }, ...partial && { partial } },
      ...{ variants, timings: partial === undefined ? timings : known!.timings },
    };
    withGivenClass(measured, input, options);
    return { input, measured, pixels, credited: 0, isRecalled: false };
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

/** The image sizes that the networks take, one or more. */
function sizesOf({ tokenizers }: StreamOptions): readonly number[] {
  return [...new Set(Object.values(tokenizers).map(({ imageSize }) => imageSize))];
}

/** Whether a family judges an image: one whose networks take images of its size. */
function judges(family: FamilyName, { bySize }: Pixels, { tokenizers }: StreamOptions): boolean {
  return bySize.has(tokenizers[family].imageSize);
}

/** Whether facts and notes of a recalled image were found by today's rules. Images in poses have none. */
function hasCurrentFacts({ facts }: Measured, { pose }: ImageInput): boolean {
  return facts?.version === factsVersion || pose !== undefined;
}

/** An image whose signals are known. */
function recalledItem(input: ImageInput, measured: Measured, options: StreamOptions): ReadItem {
  const item: ReadItem = { input, measured, credited: 0, isRecalled: isFinished(measured, options) };
  credit(item, options);
  return item;
}

/**
 * Sets the class that the user gave the image, for all families, if the condition is `given`. Returns false when
 * `measured` has another class: evidence of the same content under another name.
 */
function withGivenClass(measured: Measured, input: ImageInput, { settings, tokenizers }: StreamOptions): boolean {
  if (settings.condition !== "given") return true;
  if (input.class === undefined) throw new Error(`${input.imageName}: expected its class (--classes), got none`);
  const known = classOf(measured);
  if (known !== undefined) return known === input.class;
  const given = { top: [{ class: input.class, weight: 1 }], cost: 0 };
  measured.classes = mapFamilies(Object.keys(tokenizers), () => given);
  return true;
}

/**
 * Runs all tokenizers over a batch. On a slow device one after the other, each of them kept as soon as it is done; on a
 * card all are recorded before the first result is waited for.
 */
async function passFamilies(batch: readonly ReadItem[], options: NetworkOptions): Promise<void> {
  const { device: { info }, models } = options;
  options.begin?.(batch.map(({ measured }) => measured.sha256));
  const names = Object.keys(models.tokenizers);
  const isFast = info.kind === "webgpu" && !info.software;
  if (sizesOf(options).length > 1) {
    for (const name of names) {
      const judged = batch.filter(({ pixels }) => judges(name, pixels!, options));
      options.work?.expect(tokenizerStage(name), judged.length, batch.length);
    }
  }
  if (isFast) await Promise.all(names.map((name) => passTokenizer(name, batch, options)));
  for (const name of names) {
    if (isFast) continue;
    const hasRun = await passTokenizer(name, batch, options);
    if (hasRun && name !== names[names.length - 1]) await options.remember?.(batch.map((item) => item.measured));
    await yieldToEventLoop();
    if (options.signal?.aborted) return;
  }
  for (const item of batch) {
    const partial = item.measured.partial!, judged = names.filter((name) => judges(name, item.pixels!, options));
    item.measured.families = mapFamilies(judged, (name) => partial[name].signals);
    item.measured.tokens = mapFamilies(judged, (name) => partial[name].tokens);
    delete item.measured.partial;
    delete item.pixels;
    credit(item, options);
  }
  await options.remember?.(batch.map((item) => item.measured));
  await yieldToEventLoop();
}

/**
 * Runs a tokenizer over those images of a batch that it judges and has not run over, and puts what it found into
 * `partial`. Returns whether there were any.
 */
async function passTokenizer(name: FamilyName, all: readonly ReadItem[], options: NetworkOptions): Promise<boolean> {
  const batch = all.filter(({ measured, pixels }) =>
    measured.partial?.[name] === undefined && judges(name, pixels!, options)
  );
  if (batch.length === 0) return false;
  const start = performance.now();
  const { tokens, signals } = await passFamily(name, batch, options);
  const tokenCount = tokens.length / batch.length;
  batch.forEach(({ input, measured }, i) => {
    const values = Object.entries(signals).map(([signal, values]) => [signal, values[i]]);
    const evidence = Object.fromEntries(values) as FamilyEvidence;
    expectFinite(`${name} tokenizer`, input, evidence);
    const found = { signals: evidence, tokens: tokens.slice(i * tokenCount, (i + 1) * tokenCount) };
    measured.partial = { ...measured.partial, [name]: found };
    measured.timings.families += (performance.now() - start) / batch.length;
  });
  for (const item of batch) credit(item, options);
  options.work?.add(tokenizerStage(name), batch.length);
  return true;
}

/** The tokens of a batch, [batch, tokenCount] in a row, and for every signal a number per image. */
interface FamilyResults {
  readonly tokens: Int32Array;
  readonly signals: Readonly<Record<string, Float32Array>>;
}

async function passFamily(
  name: FamilyName,
  batch: readonly ReadItem[],
  { device, models, settings, quantizers }: NetworkOptions,
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
