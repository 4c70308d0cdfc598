/**
 * Assigns images to shards by the hash of their content, so that a file stays in its shard when files are added. Files
 * are read, not decoded.
 */
import { UnreadableImageError } from "../../images/decode.ts";
import type { ContentHashes } from "../../images/content_hashes.ts";
import type { ImageInput } from "../../images/load.ts";
import { sha256Hex } from "../../../util/hash.ts";

/** Shard `index` (from 1) of `count`. */
export interface Shard {
  readonly index: number;
  readonly count: number;
}

/** Parses `i/n`. Throws unless 1 <= i <= n. */
export function parseShard(text: string): Shard {
  const match = /^(\d+)\/(\d+)$/.exec(text.trim());
  const [index, count] = [Number(match?.[1]), Number(match?.[2])];
  if (index >= 1 && index <= count && Number.isSafeInteger(count)) return { index, count };
  throw new Error(`expected i/n with 1 <= i <= n, such as 1/4, got ${text}`);
}

/** The index, from 1, of the shard of content with this hash: its first 48 bits modulo `count`, plus 1. */
export function shardOf(sha256: string, count: number): number {
  return Number.parseInt(sha256.slice(0, 12), 16) % count + 1;
}

/** An image with the hash of its content, or of its name if it cannot be read. */
export interface IdentifiedImage {
  readonly image: ImageInput;
  readonly sha256: string;
  /** In the whole list, from 0. */
  readonly position: number;
}

/** Yields the images of a shard (all images without one) with their hashes, in their order. */
export async function* identify(
  images: Iterable<ImageInput> | AsyncIterable<ImageInput>,
  shard: Shard | undefined,
  hashes: ContentHashes,
  maxPixels?: number,
): AsyncGenerator<IdentifiedImage, void, void> {
  let position = 0;
  for await (const image of images) {
    const sha256 = await contentHash(image, hashes, maxPixels);
    if (shard === undefined || shardOf(sha256, shard.count) === shard.index) yield { image, sha256, position };
    position++;
  }
}

async function contentHash(image: ImageInput, hashes: ContentHashes, maxPixels?: number): Promise<string> {
  try {
    return await hashes.of(image, maxPixels);
  } catch (error) {
    if (!(error instanceof UnreadableImageError)) throw error;
    return await sha256Hex(new TextEncoder().encode(image.imageName));
  }
}
