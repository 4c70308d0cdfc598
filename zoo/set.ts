/**
 * Trained networks as a model set: files, and the manifest that describes them.
 * Nothing is trained here, and thresholds are fitted by `deno task calibrate` afterwards.
 */
import { basename, join } from "node:path";
import { f32ToF16 } from "../models/checkpoint/half.ts";
import { openSafetensors, type SafetensorsEntry, writeSafetensors } from "../models/checkpoint/mod.ts";
import type { ByFamily } from "../models/family.ts";
import { latentNames } from "../models/latent_statistics.ts";
import { type Manifest, modelSetHash, parseManifest } from "../models/manifest.ts";
import { sha256Hex } from "../util/hash.ts";
import type { TokenizerRecipe, TransformerRecipe } from "./recipe.ts";

/** The networks of a set. Paths are those of finished networks. */
export interface SetParts {
  readonly name: string;
  readonly description: string;
  /** One per family, in the order of the families. */
  readonly tokenizers: readonly { readonly recipe: TokenizerRecipe; readonly path: string }[];
  readonly variants: readonly { readonly recipe: TransformerRecipe; readonly path: string }[];
  /** Fine-tuned encoders by family. */
  readonly encoders?: ByFamily<string>;
  /** Name of the calibration file in the set, when it has one. */
  readonly calibration?: string;
  /** File name of the manifest. Default: manifest.json. */
  readonly manifest?: string;
  /** Further families, whose files are in the folder already, as a manifest has them. They come first. */
  readonly others?: Manifest["families"];
}

/**
 * Copies the networks into `dir` (made when missing) and writes its manifest. Returns the manifest and the set's hash.
 */
export async function writeSet(dir: string, parts: SetParts): Promise<{ manifest: Manifest; hash: string }> {
  await Deno.mkdir(dir, { recursive: true });
  const kinds = parts.tokenizers.map(({ recipe }) => recipe.network.kind);
  for (const { recipe: { name, network: { kind } } } of parts.variants) {
    if (!kinds.includes(kind)) throw new RangeError(`writeSet: ${name} needs a tokenizer of ${kind}, got ${kinds}`);
  }
  const families: Record<string, unknown> = { ...parts.others };
  for (const { recipe, path } of parts.tokenizers) {
    const { kind, config } = recipe.network;
    const variants: Record<string, unknown> = {};
    for (const { recipe, path } of parts.variants.filter(({ recipe }) => recipe.network.kind === kind)) {
      const { config, sampler } = recipe.network;
      variants[recipe.name] = { ...await copyFile(path, dir), config, sampler };
    }
    const encoder = parts.encoders?.[kind];
    families[kind] = {
      variants,
      tokenizer: { ...await copyFile(path, dir), config },
      ...encoder && { encoder: await copyHalf(encoder, dir, `${kind}_encoder.safetensors`) },
    };
  }
  const { name, description, calibration } = parts;
  const text = JSON.stringify({ format: "model-tracer-weights/1", name, description, calibration, families }, null, 2);
  const path = join(dir, parts.manifest ?? "manifest.json"), manifest = parseManifest(text, path);
  await Deno.writeTextFile(path, text + "\n");
  return { manifest, hash: await modelSetHash(manifest) };
}

/** Copies a file into `dir`, where it is not there already. */
async function copyFile(path: string, dir: string): Promise<{ file: string; bytes: number; sha256: string }> {
  const file = basename(path), target = join(dir, file);
  if (target !== path) await Deno.copyFile(path, target);
  return await describeFile(target, file);
}

/** Rewrites a file of float32 tensors with float16 ones, all but statistics, its header kept. */
async function copyHalf(path: string, dir: string, file: string) {
  const source = await openSafetensors(path);
  try {
    const entries: SafetensorsEntry[] = [];
    for (const { name, shape } of source.tensors.values()) {
      entries.push(
        latentNames.test(name)
          ? { name, shape, dtype: "f32", data: () => source.readF32(name) }
          : { name, shape, dtype: "f16", data: async () => f32ToF16(await source.readF32(name)) },
      );
    }
    await writeSafetensors(join(dir, file), entries, Object.fromEntries(source.metadata));
  } finally {
    source.close();
  }
  return await describeFile(join(dir, file), file);
}

async function describeFile(path: string, file: string) {
  const bytes = await Deno.readFile(path);
  return { file, bytes: bytes.length, sha256: await sha256Hex(bytes) };
}
