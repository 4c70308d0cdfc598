/**
 * The generating job with its files: checks settings, weights and folder before any work, then variant after variant and
 * batch after batch, each written before the next is drawn. It prints nothing: what a command line shows it is told through
 * `GenerationEvents`.
 */
import { join } from "node:path";
import { type DeviceName, openDevice } from "../core/open_device.ts";
import type { FamilyName, ImageTokenizer } from "../models/family.ts";
import { type ModelSet, openModelSet } from "../models/model_set.ts";
import { imagePath, isThere, prepareFolder, type Provenance, provenance, writeImage } from "./files.ts";
import { type BatchSizes, Generator, planBatch } from "./generator.ts";
import { checkClass, chooseSampler, type ClassChoice, type SamplerOverrides, type Series } from "./settings.ts";
import { hashFile } from "../util/hash.ts";

/** What is generated, and where it goes. */
export interface GenerationOptions {
  /** Folder of the model set; weights/tiny when not given. */
  readonly models?: string;
  /** Names of variants, or `all`. */
  readonly variants: readonly string[];
  /** Images of each variant. */
  readonly count: number;
  /** Number of the first image in its series; 0 when not given. */
  readonly first?: number;
  /** `random` when not given. */
  readonly class?: ClassChoice;
  /** 0 to 2^32 - 1; 0 when not given. */
  readonly seed?: number;
  /** What differs from the manifest's sampler. */
  readonly sampler?: SamplerOverrides;
  /** Take the likeliest token at every step. */
  readonly argmax?: boolean;
  /** Folder for the images; of several variants, each has a folder of its own in it. */
  readonly out: string;
  /** Also write fHat beside each image. */
  readonly latents?: boolean;
  /** Keep the complete images of an earlier run. */
  readonly resume?: boolean;
  /** `auto` when not given. */
  readonly device?: DeviceName;
  /** CPU threads; all processors when not given. */
  readonly threads?: number;
  /** Storage type of the networks' matrices; f32 when not given. */
  readonly weightType?: "f32" | "f16";
  /** Images per batch; as many as fit into the memory, up to 64, when not given. */
  readonly batch?: number;
  /** Limit for weights and activations on the device. */
  readonly memoryBytes?: number;
  /** Ends the job after the batch in progress; written images stay. */
  readonly signal?: AbortSignal;
}

/** An image that is written, or was there. */
export interface WrittenImage extends Provenance {
  /** Of the PNG file. */
  readonly path: string;
}

/** What the job tells while it works. */
export interface GenerationEvents {
  /** Something that a user should know, once. */
  readonly onNote?: (text: string) => void;
  /** What is being checked or loaded. */
  readonly onPrepare?: (text: string) => void;
  /** Images of the whole run that are to be drawn. */
  readonly onStart?: (total: number) => void;
  /** Images drawn so far; parts of images count. */
  readonly onProgress?: (images: number) => void;
  /** An image is written, or was there. */
  readonly onImage?: (image: WrittenImage) => void;
}

/** How the job ended. */
export interface GenerationSummary {
  /** `interrupted` by the signal; `resume` goes on with it. */
  readonly status: "done" | "interrupted";
  /** Folder of the images. */
  readonly out: string;
  /** Names of the variants. */
  readonly variants: readonly string[];
  /** Images in all, drawn now, and kept from an earlier run. */
  readonly images: { readonly total: number; readonly written: number; readonly kept: number };
  /** Hash of the model set. */
  readonly modelSet: string;
  /** Name of the device. */
  readonly device: string;
  /** Drawing, decoding and writing, without loading. */
  readonly seconds: number;
  /** Most memory that the device held. */
  readonly devicePeakBytes: number;
}

/** One variant's share of the work. */
interface Share {
  readonly series: Series;
  readonly family: FamilyName;
  readonly dir: string;
  readonly missing: readonly number[];
  readonly record: (index: number) => Provenance;
}

const defaultMemory = 4 * 2 ** 30;

/** Runs the job. Throws before any work on anything that is wrong with settings, weights or the folder. */
export async function runGeneration(
  options: GenerationOptions,
  events: GenerationEvents = {},
): Promise<GenerationSummary> {
  const { count, first = 0, out, latents = false, resume = false, weightType = "f32", signal } = options;
  const set = await openModelSet(options.models ?? join("weights", "tiny"));
  const variants = chosenVariants(set, options.variants);
  if (first + count > 2 ** 32) throw new Error(`--first: expected images below 2^32, got up to ${first + count - 1}`);
  const choice = options.class === undefined ? "random" : options.class;
  const series = variants.map((variant): Series => {
    checkClass(set, variant, choice);
    return {
      variant,
      seed: options.seed ?? 0,
      class: choice,
      sampler: chooseSampler(set, variant, options.sampler),
      argmax: options.argmax ?? false,
    };
  });
  await verifyFiles(set, variants, (what) => events.onPrepare?.(`checking ${what}`));

  await prepareFolder(out, resume);
  const shares: Share[] = [];
  for (const each of series) {
    shares.push(await planShare(set, each, variants.length > 1, { first, count, out, latents, resume }));
  }
  const total = variants.length * count;
  const toDraw = shares.reduce((sum, { missing }) => sum + missing.length, 0);

  await using cleanup = new AsyncDisposableStack();
  const device = await openDevice(options.device ?? "auto", { threads: options.threads });
  cleanup.defer(() => device.close());
  if (device.info.software) events.onNote?.(`using a software adapter: ${device.info.name}`);
  const memoryBytes = options.memoryBytes ?? defaultMemory;
  const plans = new Map(shares.map(({ series: { variant } }) => {
    const plan = planBatch(set, device, variant, memoryBytes, weightType);
    return [variant, withBatch(plan, options.batch)];
  }));

  let written = 0;
  let seconds = 0; // without loading
  const summary = (status: GenerationSummary["status"]): GenerationSummary => ({
    status,
    out,
    variants,
    images: { total, written, kept: total - toDraw },
    modelSet: set.hash,
    device: device.info.name,
    seconds,
    devicePeakBytes: device.memory().peakBytes,
  });
  events.onStart?.(toDraw);
  let tokenizer: ImageTokenizer | undefined;
  cleanup.defer(() => tokenizer?.dispose());
  for (const { series, family: familyName, dir, missing, record } of shares) {
    if (missing.length === 0) continue;
    const { variant: name } = series;
    if (tokenizer?.family !== familyName) {
      tokenizer?.dispose();
      events.onPrepare?.(`loading the ${familyName} tokenizer`);
      tokenizer = undefined;
      tokenizer = await set.loadTokenizer(device, familyName, { weightType });
    }
    events.onPrepare?.(`loading ${name}`);
    const variant = await set.loadVariant(device, name, { weightType });
    try {
      await Deno.mkdir(dir, { recursive: true });
      const generator = new Generator(tokenizer, variant, plans.get(name)!);
      let last = performance.now();
      for (let at = 0; at < missing.length; at += generator.sizes.generate) {
        const own = missing.slice(at, at + generator.sizes.generate);
        const onProgress = (share: number) => events.onProgress?.(written + share * own.length);
        const images = await generator.batch(series, own, { latents, onProgress, signal });
        for (const image of images) {
          const about = record(image.index);
          await writeImage(dir, image, { ...about, device: device.info.kind });
          written++;
          events.onImage?.({ path: imagePath(dir, image.index), ...about });
        }
        const now = performance.now();
        seconds += (now - last) / 1000;
        last = now;
      }
    } catch (error) {
      if (signal?.aborted && error === signal.reason) return summary("interrupted");
      throw error;
    } finally {
      variant.dispose();
      device.trim();
    }
  }
  return summary("done");
}

/** The variants that are meant, in the manifest's order, families one after the other. */
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

/** Throws unless the files of the networks in use are those that the manifest means: images carry the set's hash. */
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
    const found = await hashFile(path);
    if (found !== sha256) {
      throw new Error(`${path}: expected the sha256 ${sha256}, got ${found}: the file is damaged or another one`);
    }
  }
}

async function planShare(
  set: ModelSet,
  series: Series,
  several: boolean,
  { first, count, out, latents, resume }: {
    first: number;
    count: number;
    out: string;
    latents: boolean;
    resume: boolean;
  },
): Promise<Share> {
  const { variant } = series;
  const family = set.familyOf(variant);
  const { classes } = set.variantFacts(variant);
  const dir = several ? join(out, variant) : out;
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
