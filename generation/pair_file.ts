/**
 * The JSON file with the tokens of a generated image: `7.json` beside `7.png`. Generation writes it, training reads it.
 *
 * {"tokens": [17, 4, ...], "family": "rar", "variant": "rarb", "class": 207, "seed": 1}
 *
 * `tokens` are codes in the order of `ImageTokenizer.quantize`: raster order, scale after scale in families with
 * scales. f_Z, the target of a fine-tuned encoder, is `tokenizer.dequantize(tokens)`. All other fields are optional;
 * unknown fields are ignored.
 */
import { familyNames } from "../models/registry.ts";
import * as v from "npm:valibot@1.5.0";
import type { FamilyName } from "../models/family.ts";
import { parseJson } from "../util/json.ts";

/** Tokens of an image and, if known, how they were drawn. */
export interface PairFile {
  /** Codes in the order of `ImageTokenizer.quantize`. */
  readonly tokens: number[];
  /** Family of the tokens. */
  readonly family?: FamilyName;
  /** Label of the transformer that drew the tokens. */
  readonly variant?: string;
  /** Class condition; null for none. */
  readonly class?: number | null;
  /** Seed of the series. */
  readonly seed?: number;
  /** Settings of the sampler; with `moreSmooth`, the image shows mixtures of codes, not its tokens. */
  readonly sampler?: { readonly moreSmooth?: boolean };
}

const whole = v.pipe(v.number(), v.integer("a whole number"), v.minValue(0, "0 or more"));

const schema = v.object({
  tokens: v.pipe(v.array(whole), v.minLength(1, "at least one token")),
  family: v.optional(v.picklist(familyNames)),
  variant: v.optional(v.string()),
  class: v.optional(v.nullable(whole)),
  seed: v.optional(whole),
  sampler: v.optional(v.object({ moreSmooth: v.optional(v.boolean()) })),
}) satisfies v.GenericSchema<unknown, PairFile>;

/** Path of the JSON file of an image: its path with the extension `.json`. */
export function pairPath(imagePath: string): string {
  return imagePath.replace(/(\.[^./\\]+)?$/, ".json");
}

/** The text of the file. */
export function formatPair(pair: PairFile): string {
  return JSON.stringify(pair) + "\n";
}

/**
 * Reads the JSON file of an image; undefined when there is none. Throws, naming the file, when it is not of the format.
 */
export async function readPair(imagePath: string): Promise<PairFile | undefined> {
  const path = pairPath(imagePath);
  let text: string;
  try {
    text = await Deno.readTextFile(path);
  } catch (cause) {
    if (cause instanceof Deno.errors.NotFound) return undefined;
    throw new Error(`${path}: ${(cause as Error).message}`, { cause });
  }
  return parseJson(schema, text, path);
}

/**
 * Throws, naming the file, unless number and values of the tokens are possible for the family, and f_Z follows from
 * them.
 */
export function checkTokens(
  path: string,
  { tokens, sampler }: PairFile,
  family: { readonly family: FamilyName; readonly tokenCount: number; readonly codes: number },
): void {
  if (sampler?.moreSmooth) {
    throw new Error(`${path}: the image was drawn with --more-smooth: it shows mixtures of codes, not its tokens`);
  }
  if (tokens.length !== family.tokenCount) {
    throw new Error(`${path}: expected ${family.tokenCount} tokens (${family.family}), got ${tokens.length}`);
  }
  const wrong = tokens.findIndex((token) => token >= family.codes);
  if (wrong >= 0) {
    throw new Error(
      `${path}: token ${wrong}: expected a code below ${family.codes} (${family.family}), got ${tokens[wrong]}`,
    );
  }
}
