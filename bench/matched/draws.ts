/** Generated images with their true tokens and classes, and outliers of a dataset, as `deno task zoo dataset` leaves them. */
import { join } from "node:path";
import { decodePixels, readImageFile } from "../../attribution/images/load.ts";
import { parseNameTable } from "../../attribution/images/name_table.ts";
import { outlierLabel } from "../../attribution/labels.ts";
import { checkTokens, readPair } from "../../generation/pair_file.ts";
import type { ModelSet } from "../../models/model_set.ts";

/** A generated image, and what it was made from. */
export interface Drawn {
  /** Path of the PNG file. */
  readonly path: string;
  /** Name of the variant that drew it. */
  readonly variant: string;
  /** As the column `picture` of tables has it: variant, seed and number. */
  readonly picture: string;
  /** The true class; null for none. */
  readonly class: number | null;
  readonly tokens: Int32Array;
}

/** An outlier of a dataset. */
export interface Outlier {
  readonly path: string;
  readonly source: string;
}

/** Sources of outliers that went through a tokenizer of the set. */
export const isStranger = (source: string) => /^(twin|reconstruction)-/.test(source);

/**
 * The first `count` images of every variant of a family in `dir`, which has a folder for each of them. Throws where
 * images or their tokens are not there, or are of another tokenizer.
 */
export async function readDraws(set: ModelSet, family: string, dir: string, count: number): Promise<Drawn[]> {
  const { tokenCount, codes } = set.tokenizerFacts(family), drawn: Drawn[] = [];
  for (const variant of set.variants(family)) {
    for (let i = 0; i < count; i++) {
      const path = join(dir, variant, `${i}.png`), pair = await readPair(path);
      if (pair === undefined) {
        throw new Error(`${path}: expected its tokens beside it; deno task zoo dataset draws both`);
      }
      checkTokens(path, pair, { family, tokenCount, codes });
      const { tokens, class: label = null, seed } = pair;
      drawn.push({ path, variant, picture: `${variant}/${seed}/${i}`, class: label, tokens: Int32Array.from(tokens) });
    }
  }
  return drawn;
}

/** The outliers in the test images of a dataset, at most `most` of every source. */
export async function readOutliers(data: string, most: number): Promise<Outlier[]> {
  const table = join(data, "test_labels.csv"), counts = new Map<string, number>();
  return parseNameTable(await Deno.readTextFile(table), table, "source").flatMap(({ image_name, label, source }) => {
    if (label !== outlierLabel) return [];
    const count = (counts.get(source) ?? 0) + 1;
    counts.set(source, count);
    return count > most ? [] : [{ path: join(data, "test", image_name), source }];
  });
}

/** An image file at a network's size, [size, size, 3] in [0, 1]. */
export async function readPixels(path: string, size: number): Promise<Float32Array> {
  const { bytes } = await readImageFile(path);
  return (await decodePixels(bytes, [size])).bySize.get(size)!;
}
