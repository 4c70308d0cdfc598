/**
 * Generated images as files: `7.png`, `7.json` with tokens, class and settings (pair_file.ts), and on request
 * `7.safetensors` with the latent. The JSON is written last: an image that has one is complete.
 */
import { join } from "node:path";
import * as v from "npm:valibot@1.5.0";
import { writeSafetensors } from "../models/checkpoint/mod.ts";
import type { FamilyName } from "../models/family.ts";
import { parseJson } from "../util/json.ts";
import { formatPair, type PairFile, pairPath } from "./pair_file.ts";
import type { GeneratedImage } from "./generator.ts";
import { writePng } from "../attribution/images/png.ts";
import { classOf, type Series } from "./settings.ts";
import { canonicalJson } from "../util/json.ts";

/** Everything that an image depends on; the JSON has it beside the tokens. */
export interface Provenance {
  /** Of the variant. */
  readonly family: FamilyName;
  /** Its name in the model set. */
  readonly variant: string;
  /** Null for none. */
  readonly class: number | null;
  /** Seed of the series. */
  readonly seed: number;
  /** Index of the image in the series of its variant and seed. */
  readonly index: number;
  /** Sampler settings, and those of the series' `argmax`, `moreSmooth` and `roundBytes` that are true. */
  readonly sampler: Series["sampler"] & Readonly<Partial<Record<"argmax" | "moreSmooth" | "roundBytes", true>>>;
  /** Hash of the model set, see models/manifest.ts. */
  readonly modelSet: string;
}

/** The JSON file beside an image. */
export interface GeneratedFiles extends PairFile, Provenance {
  /** Of the variant. */
  readonly family: FamilyName;
  /** Its name in the model set. */
  readonly variant: string;
  /** Null for none. */
  readonly class: number | null;
  /** Seed of the series. */
  readonly seed: number;
  /** As in `Provenance`. */
  readonly sampler: Provenance["sampler"];
  /** Kind of the device. Devices round differently, which may change a drawn token. */
  readonly device: string;
}

/** The provenance of an image of a series. */
export function provenance(
  series: Series,
  index: number,
  of: { readonly family: FamilyName; readonly classes: number; readonly modelSet: string },
): Provenance {
  const { variant, seed, sampler, argmax, moreSmooth, roundBytes } = series;
  return {
    family: of.family,
    variant,
    class: classOf(series, index, of.classes),
    seed,
    index,
    sampler: {
      ...sampler,
      ...argmax && { argmax },
      ...moreSmooth && { moreSmooth },
      ...roundBytes && { roundBytes },
    },
    modelSet: of.modelSet,
  };
}

/** Path of an image in a folder. */
export function imagePath(dir: string, index: number): string {
  return join(dir, `${index}.png`);
}

function latentPath(dir: string, index: number): string {
  return join(dir, `${index}.safetensors`);
}

/** Writes the files of an image, each under a hidden temporary name first. Throws, naming the file, when that fails. */
export async function writeImage(
  dir: string,
  { index, tokens, image, latent }: GeneratedImage,
  record: Provenance & { readonly device: string },
): Promise<void> {
  await writeWhole(dir, `${index}.png`, writePng(image));
  if (latent) {
    const { shape, values } = latent;
    const metadata = { format: "model-tracer-latent/1", family: record.family, modelSet: record.modelSet };
    await writeSafetensors(
      latentPath(dir, index),
      [{ name: "f_Z", shape, dtype: "f32", data: () => values }],
      metadata,
    );
  }
  const content: GeneratedFiles = { tokens: Array.from(tokens), ...record };
  await writeWhole(dir, `${index}.json`, new TextEncoder().encode(formatPair(content)));
}

async function writeWhole(dir: string, name: string, bytes: Uint8Array): Promise<void> {
  const part = join(dir, `.${name}.part`);
  try {
    await Deno.writeFile(part, bytes);
    await Deno.rename(part, join(dir, name));
  } catch (cause) {
    await Deno.remove(part).catch(() => {});
    throw new Error(`${join(dir, name)}: cannot be written: ${(cause as Error).message}`, { cause });
  }
}

/**
 * Whether an earlier run has written all files of an image. Throws, naming the file, when its provenance is not
 * `expected`.
 */
export async function isThere(dir: string, expected: Provenance, latents: boolean): Promise<boolean> {
  const path = imagePath(dir, expected.index);
  const record = await readRecord(pairPath(path));
  if (record === undefined) return false;
  for (const [field, value] of Object.entries(expected)) {
    const [wanted, got] = [canonicalJson(value), canonicalJson(record[field] ?? null)];
    if (wanted === got) continue;
    throw new Error(
      `--resume ${dir}: ${expected.index}.json was made with ${field} ${got}, expected ${wanted}: ` +
        "name another folder, or the settings that it was made with",
    );
  }
  const needed = latents ? [path, latentPath(dir, expected.index)] : [path];
  for (const file of needed) if (!await Deno.stat(file).then((info) => info.isFile, () => false)) return false;
  return true;
}

async function readRecord(path: string): Promise<Record<string, unknown> | undefined> {
  try {
    return parseJson(v.record(v.string(), v.unknown()), await Deno.readTextFile(path), path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/** Creates the folder of a run. Throws when it is not empty, unless the run resumes an earlier one. */
export async function prepareFolder(dir: string, resume: boolean): Promise<void> {
  try {
    await Deno.mkdir(dir, { recursive: true });
    if (resume) return;
    for await (const { name } of Deno.readDir(dir)) {
      throw new Error(`is not empty (it has ${name}): add what is missing with --resume, or name another folder`);
    }
  } catch (cause) {
    throw new Error(`--out ${dir}: ${(cause as Error).message}`, { cause });
  }
}
