/**
 * The file beside a generated image that has its tokens: `7.png` has `7.json`. It is where generating and training meet;
 * what the tokens stand for is the family's business, and how images are stored is images/'s.
 *
 *     {"tokens": [17, 4, ...], "family": "rar", "variant": "rarb", "class": 207, "seed": 1}
 *
 * `tokens` are the codes in the order of `ImageTokenizer.quantize`: raster order (RAR), or scale after scale, each in raster order
 * (VAR). f_Z, what a fine-tuned encoder is to return, is `family.dequantize(tokens)`. All other fields may be missing;
 * fields that are not known here are left alone.
 */
import { familyNames } from "../models/registry.ts";
import * as v from "npm:valibot@1.5.0";
import type { FamilyName } from "../models/family.ts";
import { parseJson } from "../util/json.ts";

/** Tokens of an image, and how it was drawn where that is known. */
export interface PairFile {
  /** Codes in the order of `ImageTokenizer.quantize`. */
  readonly tokens: number[];
  /** Family of the tokens. */
  readonly family?: FamilyName;
  /** Label of the transformer that drew the tokens. */
  readonly variant?: string;
  /** Class that it was asked for. */
  readonly class?: number | null;
  /** Seed of the series. */
  readonly seed?: number;
}

const whole = v.pipe(v.number(), v.integer("a whole number"), v.minValue(0, "0 or more"));

const schema = v.object({
  tokens: v.pipe(v.array(whole), v.minLength(1, "at least one token")),
  family: v.optional(v.picklist(familyNames)),
  variant: v.optional(v.string()),
  class: v.optional(v.nullable(whole)),
  seed: v.optional(whole),
}) satisfies v.GenericSchema<unknown, PairFile>;

/** Where the tokens of an image are: its path with the extension `.json`. */
export function pairPath(imagePath: string): string {
  return imagePath.replace(/(\.[^./\\]+)?$/, ".json");
}

/** Text of the file for the given content. */
export function formatPair(pair: PairFile): string {
  return JSON.stringify(pair) + "\n";
}

/**
 * Reads the tokens beside an image; undefined when there is no such file. Throws, naming the file, when it is not of the
 * format.
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

/** Throws unless the tokens are those of an image of the family. */
export function checkTokens(
  path: string,
  { tokens }: PairFile,
  family: { readonly family: FamilyName; readonly tokenCount: number; readonly codes: number },
): void {
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
