/**
 * Generates images of variants into a folder: checks settings, weights and folder, then draws and writes batch after
 * batch. It prints nothing; callers follow progress through `GenerationEvents`.
 */
import { join } from "node:path";
import { type DeviceName, openDevice } from "../core/open_device.ts";
import type { Device } from "../core/tensor/mod.ts";
import type { FamilyName, ImageTokenizer } from "../models/family.ts";
import type { ModelSet } from "../models/model_set.ts";
import { chooseModels } from "../attribution/run/choose_models.ts";
import { imagePath, isThere, prepareFolder, type Provenance, provenance, writeImage } from "./files.ts";
import { type BatchSizes, Generator } from "./generator.ts";
import { generationMemory, planBatch, requireMemory } from "./memory.ts";
import {
  checkClass,
  checkMoreSmooth,
  chooseSampler,
  type ClassChoice,
  type SamplerOverrides,
  type Series,
} from "./settings.ts";
import { chunks } from "../util/chunks.ts";
import { hashFile } from "../util/hash.ts";

/** What to generate, and where to write it. */
export interface GenerationOptions {
  /** Folder of the model set. Default: weights/official where it is complete, else weights/tiny. */
  readonly models?: string;
  /** Names of variants, or `all`. */
  readonly variants: readonly string[];
  /** Number of images of each variant. */
  readonly count: number;
  /** Index of the first image in its series. Default 0. */
  readonly first?: number;
  /** Default `random`. */
  readonly class?: ClassChoice;
  /** Seed of the series, 0 to 2^32 - 1. Default 0. */
  readonly seed?: number;
  /** Sampler settings that replace those of the manifest. */
  readonly sampler?: SamplerOverrides;
  /** Take the likeliest token at every step. Default false. */
  readonly argmax?: boolean;
  /** VAR's `more_smooth`: decode mixtures of codes. Refused for other families. Default false. */
  readonly moreSmooth?: boolean;
  /** Round pixels to bytes instead of truncating them. Default false. */
  readonly roundBytes?: boolean;
  /** Folder for the images. With several variants, it gets a folder for each. */
  readonly out: string;
  /** Write the latent fHat beside each image. Default false. */
  readonly latents?: boolean;
  /** Keep the complete images of an earlier run. Default false: the folder must be empty. */
  readonly resume?: boolean;
  /** Default `auto`. */
  readonly device?: DeviceName;
  /** CPU threads. Default: as many as the machine has processors. */
  readonly threads?: number;
  /** Type in which the weights of matrices are stored on the device. Default: that of their files. */
  readonly weightType?: "f32" | "f16";
  /** Images per batch. Default: as many as fit into memory, at most 64. */
  readonly batch?: number;
  /**
   * Limit for weights and activations on the device. Default: by the free memory, at most 8 GiB or what the largest
   * variant needs, on a card 40 GiB.
   */
  readonly memoryBytes?: number;
  /** Aborting ends the run before the next step; written images stay. */
  readonly signal?: AbortSignal;
}

/** An image that was written. */
export interface WrittenImage extends Provenance {
  /** Path of the PNG file. */
  readonly path: string;
}

/** Progress of a generation. */
export interface GenerationEvents {
  /** Called with a fact that the user should know. */
  readonly onNote?: (text: string) => void;
  /** Called before files are checked and networks loaded. */
  readonly onPrepare?: (text: string) => void;
  /** Called once before the first batch, with the number of images to draw. */
  readonly onStart?: (total: number) => void;
  /** Called with the images drawn so far; fractions are possible. */
  readonly onProgress?: (images: number) => void;
  /** Called when an image is written. */
  readonly onImage?: (image: WrittenImage) => void;
}

/** The result of a generation. */
export interface GenerationSummary {
  /** `interrupted`: the signal was aborted; a run with `resume` draws the rest. */
  readonly status: "done" | "interrupted";
  /** Folder of the images. */
  readonly out: string;
  /** Names of the variants. */
  readonly variants: readonly string[];
  /** Numbers of images: requested, written by this run, kept from an earlier run. */
  readonly images: { readonly total: number; readonly written: number; readonly kept: number };
  /** Hash of the model set. */
  readonly modelSet: string;
  /** Name of the device. */
  readonly device: string;
  /** Time for drawing, decoding and writing, without loading. */
  readonly seconds: number;
  /** Peak memory of the device. */
  readonly devicePeakBytes: number;
}

/** The images of one variant that must be drawn. */
interface Share {
  readonly series: Series;
  readonly family: FamilyName;
  readonly dir: string;
  readonly missing: readonly number[];
  readonly record: (index: number) => Provenance;
}

/**
 * Generates images and writes them. Throws before anything is drawn on wrong settings, weights or folders. Each batch
 * is written before the next is drawn.
 */
export async function runGeneration(
  options: GenerationOptions,
  events: GenerationEvents = {},
): Promise<GenerationSummary> {
  const { count, first = 0, out, resume = false, weightType } = options;
  const set = await chooseModels(options.models, events);
  const variants = chosenVariants(set, options.variants);
  if (first + count > 2 ** 32) throw new Error(`--first: expected images below 2^32, got up to ${first + count - 1}`);
  const series = variants.map((variant) => seriesOf(set, variant, options));
  await verifyFiles(set, variants, (what) => events.onPrepare?.(`checking ${what}`));
  await prepareFolder(out, resume);
  const shares: Share[] = [];
  for (const one of series) shares.push(await planShare(set, one, variants.length > 1, options));
  const toDraw = shares.reduce((sum, { missing }) => sum + missing.length, 0);

  await using cleanup = new AsyncDisposableStack();
  const device = await openDevice(options.device ?? "auto", { threads: options.threads });
  cleanup.defer(() => device.close());
  const { kind, software, name } = device.info;
  if (kind === "webgpu") events.onNote?.(`using ${software ? "a software adapter: " : ""}${name}`);
  // One variant is on the device at a time, so each must fit by itself.
  const drawn = shares.filter(({ missing }) => missing.length > 0).map(({ series: { variant } }) => variant);
  const memory = await generationMemory(set, device, drawn, options.memoryBytes, weightType);
  device.limitMemory(memory.bytes);
  requireMemory(set, device, drawn, memory, weightType);
  const sizes = new Map(
    drawn.map((variant) => [
      variant,
      withBatch(planBatch(set, device, variant, memory.bytes, weightType), options.batch),
    ]),
  );

  events.onStart?.(toDraw);
  const drawing = new Drawing(set, device, options, events);
  cleanup.use(drawing);
  let isDone = true;
  for (const share of shares) {
    if (share.missing.length > 0) isDone = await drawing.draw(share, sizes.get(share.series.variant)!);
    if (!isDone) break;
  }
  const total = variants.length * count;
  return {
    status: isDone ? "done" : "interrupted",
    out,
    variants,
    images: { total, written: drawing.written, kept: total - toDraw },
    modelSet: set.hash,
    device: device.info.name,
    seconds: drawing.seconds,
    devicePeakBytes: device.memory().peakBytes,
  };
}

/** Draws and writes images, one variant after the other. Keeps a tokenizer for the variants of its family. */
class Drawing {
  /** Images so far. */
  written = 0;
  /** Time for drawing, decoding and writing, without loading. */
  seconds = 0;
  #tokenizer: ImageTokenizer | undefined;

  constructor(
    readonly set: ModelSet,
    readonly device: Device,
    readonly options: GenerationOptions,
    readonly events: GenerationEvents,
  ) {}

  /** Draws the missing images of a variant. Returns false when the signal has interrupted it. */
  async draw(share: Share, sizes: BatchSizes): Promise<boolean> {
    const { weightType, signal } = this.options;
    const { variant: name } = share.series;
    const tokenizer = await this.#loadTokenizer(share.family);
    this.events.onPrepare?.(`loading ${name}`);
    const variant = await this.set.loadVariant(this.device, name, { weightType });
    try {
      await this.#drawBatches(share, new Generator(tokenizer, variant, sizes));
      return true;
    } catch (error) {
      if (signal?.aborted && error === signal.reason) return false;
      throw error;
    } finally {
      variant.dispose();
      this.device.trim();
    }
  }

  async #drawBatches({ series, dir, missing, record }: Share, generator: Generator): Promise<void> {
    const { latents = false, signal } = this.options;
    await Deno.mkdir(dir, { recursive: true });
    let last = performance.now();
    for (const indices of chunks(missing, generator.sizes.generate)) {
      const before = this.written;
      const onProgress = (share: number) => this.events.onProgress?.(before + share * indices.length);
      for (const image of await generator.batch(series, indices, { latents, onProgress, signal })) {
        const about = record(image.index);
        await writeImage(dir, image, { ...about, device: this.device.info.kind });
        this.written++;
        this.events.onImage?.({ path: imagePath(dir, image.index), ...about });
      }
      const now = performance.now();
      this.seconds += (now - last) / 1000;
      last = now;
    }
  }

  async #loadTokenizer(family: FamilyName): Promise<ImageTokenizer> {
    if (this.#tokenizer?.family === family) return this.#tokenizer;
    this[Symbol.dispose]();
    this.events.onPrepare?.(`loading the ${family} tokenizer`);
    return this.#tokenizer = await this.set.loadTokenizer(this.device, family, {
      weightType: this.options.weightType,
    });
  }

  [Symbol.dispose](): void {
    this.#tokenizer?.dispose();
    this.#tokenizer = undefined;
  }
}

/** The series of a variant. Throws on classes and sampler settings that the variant does not have. */
function seriesOf(set: ModelSet, variant: string, options: GenerationOptions): Series {
  const choice = options.class === undefined ? "random" : options.class;
  checkClass(set, variant, choice);
  const sampler = chooseSampler(set, variant, options.sampler);
  const { seed = 0, argmax = false, moreSmooth = false, roundBytes = false } = options;
  if (moreSmooth) checkMoreSmooth(set, variant, argmax);
  return { variant, seed, class: choice, sampler, argmax, moreSmooth, roundBytes };
}

/** The chosen variants in the order of the manifest, family after family. Throws on unknown names. */
function chosenVariants(set: ModelSet, names: readonly string[]): string[] {
  const known = set.families.flatMap((family) => set.variants(family));
  if (names.length === 0) throw new Error(`--model: expected ${known.join(", ")} or all`);
  if (names.includes("all")) return known;
  const unknown = names.find((name) => !known.includes(name));
  if (unknown !== undefined) {
    throw new Error(`--model: expected all or variants of ${set.dir} (${known.join(", ")}), got ${unknown}`);
  }
  return known.filter((name) => names.includes(name));
}

/** Throws unless the used files have the hashes of the manifest. Images record the hash of the set as their origin. */
async function verifyFiles(set: ModelSet, variants: readonly string[], onFile: (file: string) => void): Promise<void> {
  const { families } = set.manifest;
  const entries = variants.flatMap((variant) => {
    const family = families[set.familyOf(variant)];
    return [family.tokenizer, family.variants[variant]];
  });
  const files = new Map(entries.flatMap((entry) => ("file" in entry ? [[entry.file, entry.sha256] as const] : [])));
  for (const [file, sha256] of files) {
    onFile(file);
    const path = join(set.dir, file);
    const actual = await hashFile(path);
    if (actual !== sha256) {
      throw new Error(`${path}: expected the sha256 ${sha256}, got ${actual}: the file is damaged or another one`);
    }
  }
}

/** Finds the images of a series that are not in its folder. */
async function planShare(
  set: ModelSet,
  series: Series,
  isOneOfSeveral: boolean,
  { first = 0, count, out, latents = false, resume = false }: GenerationOptions,
): Promise<Share> {
  const { variant } = series;
  const family = set.familyOf(variant);
  const { classes } = set.variantFacts(variant);
  const dir = isOneOfSeveral ? join(out, variant) : out;
  const record = (index: number) => provenance(series, index, { family, classes, modelSet: set.hash });
  const missing: number[] = [];
  for (let index = first; index < first + count; index++) {
    if (!resume || !await isThere(dir, record(index), latents)) missing.push(index);
  }
  return { series, family, dir, missing, record };
}

function withBatch(plan: BatchSizes, batch: number | undefined): BatchSizes {
  return batch === undefined ? plan : { generate: batch, decode: Math.min(batch, plan.decode) };
}
