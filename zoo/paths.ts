/**
 * Where the zoo's training keeps its files in its working folder, and finished tokenizers ready to be used.
 * Nothing here decides what is trained; recipes.ts does.
 */
import { join } from "node:path";
import type { Device } from "../core/tensor/mod.ts";
import { openCheckpoint } from "../models/checkpoint/mod.ts";
import type { ImageTokenizer } from "../models/family.ts";
import { familyNamed } from "../models/registry.ts";
import { sha256Hex } from "../util/hash.ts";
import type { TokenizerRecipe } from "./recipe.ts";

/** The files of a working folder. */
export interface ZooPaths {
  /** Folder of the finished networks, `<name>.safetensors`. */
  readonly weights: string;
  /** The finished network of that name. */
  network(name: string): string;
  /** Folder of the state and the log of a network's training. */
  run(name: string): string;
  /** Tokens of one split of the crops under a tokenizer. */
  tokens(tokenizer: string, split: string): string;
}

/** The files of the working folder `work`. */
export function zooPaths(work: string): ZooPaths {
  const weights = join(work, "weights");
  return {
    weights,
    network: (name) => join(weights, `${name}.safetensors`),
    run: (name) => join(work, "runs", name),
    tokens: (tokenizer, split) => join(work, "tokens", `${tokenizer}_${split}.safetensors`),
  };
}

/** The root of this repository. */
export const repository = new URL("..", import.meta.url).pathname;

/** The file of a network SET/NAME of a set that the repository has. */
export function releasedFile(name: string): string {
  return join(repository, "weights", `${name}.safetensors`);
}

/** sha256 of a file. Throws naming the step that makes it when it is not there. */
export async function fileHash(path: string, madeBy: string): Promise<string> {
  let bytes: Uint8Array<ArrayBuffer>;
  try {
    bytes = await Deno.readFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) {
      throw new Error(`${path}: not there yet; deno task zoo ${madeBy} makes it`);
    }
    throw error;
  }
  return await sha256Hex(bytes);
}

/** Loads a finished tokenizer. */
export async function loadTokenizer(
  device: Device,
  { network }: TokenizerRecipe,
  path: string,
): Promise<ImageTokenizer> {
  const source = await openCheckpoint(path);
  try {
    return await familyNamed(network.kind).loadTokenizer(device, source, network.config);
  } finally {
    source.close();
  }
}
