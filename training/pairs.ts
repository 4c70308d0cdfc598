/**
 * Training pairs from files: images with the tokens that they were decoded from, if those are known. Reads folders of
 * generated pairs and label folders of plain images.
 */
import { resolve } from "node:path";
import type { FamilyName } from "../models/family.ts";
import { type ImageDecoder, ownDecoder } from "../attribution/images/decoder/mod.ts";
import { type ListedImage, listImages } from "../attribution/images/list.ts";
import type { RgbImage } from "../attribution/images/image.ts";
import { readImageFile } from "../attribution/images/load.ts";
import { type Labels, outlierLabel } from "../attribution/labels.ts";
import { spread } from "./order.ts";
import { checkTokens, readPair } from "../generation/pair_file.ts";
import { sha256Hex } from "../util/hash.ts";

/** An image and its tokens. */
export interface Pair {
  /** [size, size, 3] in [0, 1], each value float32(byte / 255). */
  readonly pixels: Float32Array;
  /** [tokenCount]; null if they are unknown. The current encoder then chooses them. */
  readonly tokens: Int32Array | null;
}

/**
 * Pairs by index, read from files or drawn on demand. The same index must always give the same pair, so that a resumed
 * run gives the result of an uninterrupted one.
 */
export interface PairSource {
  /** Number of pairs. */
  readonly count: number;
  /** Whether the tokens of some pairs are unknown. */
  readonly partial: boolean;
  /** Identifies the data: sha256 over everything that determines it. */
  readonly fingerprint: string;
  /** The pairs with these indices, 0 to `count` - 1. */
  /** The pairs with these indices, 0 to `count` - 1. */
  batch(indices: readonly number[]): Promise<readonly Pair[]>;
}

/** The tokenizer that pairs must fit. */
export interface PairFamily {
  readonly family: FamilyName;
  readonly imageSize: number;
  readonly tokenCount: number;
  readonly codes: number;
}

/** Pairs of a family, and images of other families for the evaluation; null without any. */
export interface TrainingData {
  readonly pairs: PairSource;
  readonly others: PairSource | null;
}

/** Which files to read. */
export interface OpenDataOptions {
  /** Folders of images with JSON files of their tokens (generation/pair_file.ts). */
  readonly pairs: readonly string[];
  /** Folders with a folder of images per label, such as `Dataset/train`. */
  readonly data: readonly string[];
  /** Decodes the files. It is used as long as the pairs are. Default: this process does. */
  readonly decoder?: ImageDecoder;
  /** The labels of the model set. */
  readonly labels: Labels;
  /** Use only so many pairs, evenly spaced in the sorted list. Default: all. */
  readonly limit?: number;
  /** Called after every image that was read. */
  /** Called after every image that was read. */
  readonly onProgress?: (done: number, total: number) => void;
}

/** Bytes of decoded pixels in memory. Other images are decoded whenever they are used. */
const cacheBytes = 512 * 1024 * 1024;

interface Item {
  readonly image: ListedImage;
  readonly tokens: Int32Array | null;
}

/**
 * Lists, reads and checks all images. Throws when there are no pairs, when an image cannot be read or has another size
 * than those of the family, and when tokens are missing or impossible for the family.
 */
export async function openTrainingData(family: PairFamily, options: OpenDataOptions): Promise<TrainingData> {
  const members: Item[] = [], others: Item[] = [];
  if (options.pairs.length + options.data.length === 0) {
    throw new Error(
      "no data: expected --pairs DIR (generated images with their tokens), --data DIR (label folders) or " +
        "--sample N (pairs drawn from the family's transformers)",
    );
  }
  if (options.pairs.length > 0) await listPairs(family, options.pairs, members, others);
  if (options.data.length > 0) await listLabelled(family, options, members, others);
  const chosen = spread(members.length, options.limit ?? members.length).map((i) => members[i]);
  const total = chosen.length + others.length;
  const progress = (before: number) => (done: number) => options.onProgress?.(before + done, total);
  const { decoder = ownDecoder } = options;
  const open = (items: readonly Item[], before: number) => ImagePairs.open(family, items, decoder, progress(before));
  const pairs = await open(chosen, 0);
  const compared = others.length === 0 ? null : await open(others, chosen.length);
  return { pairs, others: compared };
}

/**
 * Lists the images of folders, each in natural order and each file once. With several folders, images are named by
 * their whole path, because different folders may have images of the same name.
 */
async function listFolders(folders: readonly string[]): Promise<ListedImage[]> {
  const images = new Map<string, ListedImage>();
  for (const folder of folders) {
    for (const image of await listImages([folder])) {
      const key = resolve(image.path);
      if (!images.has(key)) images.set(key, folders.length === 1 ? image : { ...image, imageName: image.path });
    }
  }
  return [...images.values()];
}

/** Adds images with tokens of the family to `members`, and images of other families to `others`. */
async function listPairs(
  family: PairFamily,
  folders: readonly string[],
  members: Item[],
  others: Item[],
): Promise<void> {
  const images = await listFolders(folders);
  const missing: string[] = [];
  for (const image of images) {
    const pair = await readPair(image.path);
    if (pair === undefined) missing.push(image.imageName);
    else if (pair.family !== undefined && pair.family !== family.family) others.push({ image, tokens: null });
    else {
      checkTokens(image.path, pair, family);
      members.push({ image, tokens: Int32Array.from(pair.tokens) });
    }
  }
  const where = folders.join(", ");
  if (missing.length === images.length) {
    throw new Error(
      `${where}: no pairs found: none of ${images.length} images has its tokens beside it, as 7.json for 7.png; ` +
        "for plain images in label folders use --data",
    );
  }
  if (missing.length > 0) {
    throw new Error(
      `${where}: ${missing.length} of ${images.length} images have no tokens beside them: ${some(missing)}`,
    );
  }
  if (members.length === 0) {
    throw new Error(`${where}: no pairs found: all ${others.length} images are of other families`);
  }
}

/** Adds images of label folders of the family to `members`, and those of other families to `others`. */
/** Adds images of label folders of the family to `members`, and those of other families to `others`. */
async function listLabelled(
  { family }: PairFamily,
  { data: folders, labels }: OpenDataOptions,
  members: Item[],
  others: Item[],
): Promise<void> {
  const before = members.length;
  for (const image of await listFolders(folders)) {
    const { labelFolder, imageName } = image;
    if (labelFolder === undefined || !labels.all.includes(labelFolder)) {
      throw new Error(
        `--data ${folders.join(", ")}: ${imageName}: expected folders named ${labels.all.join(", ")}, ` +
          `got ${labelFolder ?? "an image outside of them"}`,
      );
    }
    if (labels.familyOf(labelFolder) === family) members.push({ image, tokens: null });
    else if (labelFolder !== outlierLabel) others.push({ image, tokens: null });
  }
  if (members.length === before) {
    throw new Error(
      `--data ${folders.join(", ")}: no images of the family ${family} found (${labels.variants[family].join(", ")})`,
    );
  }
}

/** Pairs whose images are files. */
class ImagePairs implements PairSource {
  readonly partial: boolean;
  #left = cacheBytes;
  readonly #cache = new Map<number, RgbImage>();

  private constructor(
    readonly fingerprint: string,
    readonly items: readonly Item[],
    readonly decoder: ImageDecoder,
    cache: readonly RgbImage[],
  ) {
    this.partial = items.some(({ tokens }) => tokens === null);
    cache.forEach((image, i) => this.#keep(i, image));
  }

  get count(): number {
    return this.items.length;
  }

  static async open(
    family: PairFamily,
    items: readonly Item[],
    decoder: ImageDecoder,
    onProgress: (done: number) => void,
  ): Promise<ImagePairs> {
    const hashes: string[] = [], cache: RgbImage[] = [], unreadable: string[] = [];
    const sizes = new Map<string, string[]>();
    let left = cacheBytes;
    for (const [i, { image, tokens }] of items.entries()) {
      try {
        const { sha256, decoded } = await readAndDecode(decoder, image);
        const tokenHash = tokens === null ? "" : await sha256Hex(new Uint8Array(tokens.slice().buffer));
        hashes.push(sha256 + tokenHash);
        const size = `${decoded.width}x${decoded.height}`;
        sizes.set(size, [...sizes.get(size) ?? [], image.imageName]);
        left -= decoded.data.length;
        if (left >= 0 && cache.length === i) cache.push(decoded);
      } catch (error) {
        unreadable.push(`${image.imageName} (${(error as Error).message})`);
      }
      onProgress(i + 1);
    }
    if (unreadable.length > 0) {
      throw new Error(`${unreadable.length} of ${items.length} images cannot be read: ${some(unreadable)}`);
    }
    requireSize(family, sizes);
    const fingerprint = await sha256Hex(new TextEncoder().encode(hashes.sort().join("\n")));
    return new ImagePairs(fingerprint, items, decoder, cache);
  }

  async batch(indices: readonly number[]): Promise<Pair[]> {
    const pairs: Pair[] = [];
    for (const i of indices) {
      const { data } = await this.#decoded(i);
      pairs.push({ pixels: Float32Array.from(data, (byte) => byte / 255), tokens: this.items[i].tokens });
    }
    return pairs;
  }

  async #decoded(i: number): Promise<RgbImage> {
    const known = this.#cache.get(i);
    if (known !== undefined) return known;
    return (await readAndDecode(this.decoder, this.items[i].image)).decoded;
  }

  #keep(i: number, image: RgbImage): void {
    this.#left -= image.data.length;
    if (this.#left >= 0) this.#cache.set(i, image);
  }
}

async function readAndDecode(
  decoder: ImageDecoder,
  { imageName, path }: ListedImage,
): Promise<{ readonly sha256: string; readonly decoded: RgbImage }> {
  const { bytes, sha256 } = await readImageFile(path);
  return { sha256, decoded: await decoder.stored({ imageName }, bytes) };
}

/** Throws unless all images have the size of the family. `sizes` has the names of images by size. */
function requireSize({ family, imageSize }: PairFamily, sizes: ReadonlyMap<string, readonly string[]>): void {
  const expected = `${imageSize}x${imageSize}`;
  if (sizes.size === 1 && sizes.has(expected)) return;
  const actual = [...sizes].map(([size, names]) =>
    `${size} (${names.length} ${names.length === 1 ? "image" : "images"}, such as ${names[0]})`
  );
  throw new Error(
    `${sizes.size > 1 ? "images of mixed sizes" : "images of another size"}: ` +
      `the ${family} encoder expects ${expected}, got ${some(actual)}; ` +
      "resizing would destroy what the encoder is to learn: leave other images out, " +
      "or name the set of weights that they were made with by --models",
  );
}

/** The first few names, and how many more there are. */
function some(names: readonly string[], shown = 3): string {
  const more = names.length - shown;
  return names.slice(0, shown).join(", ") + (more > 0 ? ` and ${more} more` : "");
}
