/**
 * From a file to what the networks take: its content hash, its size and its pixels at every family's image size.
 * Formats, limits and resizing are those of images/; batches and devices are the pipeline's.
 */
import { augment8, type Augmentation } from "./augment/mod.ts";
import { decodeImage, DEFAULT_MAX_PIXELS, UnreadableImageError } from "./decode.ts";
import type { RgbImage } from "./image.ts";
import { preprocess, resizeAndCrop } from "./preprocess.ts";
import { canonicalJson } from "../../util/json.ts";
import { sha256Hex } from "../../util/hash.ts";

/** An image to work on: what the results call it, and one of `path`, `bytes`, `image` and `decoded`. */
export interface ImageInput {
  /** Name for the results. */
  readonly imageName: string;
  /** Of a file. */
  readonly path?: string;
  /** Content of a file. */
  readonly bytes?: Uint8Array<ArrayBuffer>;
  /** Pixels. Its hash is that of its size and its bytes. */
  readonly image?: RgbImage;
  /** Pixels at every image size that the networks take. Not together with `augmentation`. */
  readonly decoded?: { readonly sha256: string; readonly pixels: Pixels };
  /**
   * Applied to the bytes of the image at every family's image size, before scaling to its value range.
   *
   * @internal
   */
  readonly augmentation?: Augmentation;
  /** Its class, where the user says it. */
  readonly class?: number;
}

/** An image file that was read but not decoded. */
export interface ImageFile {
  /** Content of the file. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** sha256 of the bytes. */
  readonly sha256: string;
}

/** An image as networks take it. */
export interface Pixels {
  /** Of the image as stored, in pixels. */
  readonly width: number;
  /** Of the image as stored, in pixels. */
  readonly height: number;
  /** By image size: [size, size, 3] in [0, 1]. */
  readonly bySize: ReadonlyMap<number, Float32Array>;
}

/** Bytes per pixel of the most generous format (16-bit RGBA), and what else a file may carry. */
const maxBytesPerPixel = 8;
const maxOtherBytes = 16 * 1024 * 1024;

/** Reads and hashes a file. Throws UnreadableImageError (`io`, or `too-large` for more bytes than any image has). */
export async function readImageFile(path: string, maxPixels = DEFAULT_MAX_PIXELS): Promise<ImageFile> {
  try {
    const { isFile, size } = await Deno.stat(path);
    if (!isFile) throw new UnreadableImageError("io", "expected a regular file");
    const maxBytes = maxPixels * maxBytesPerPixel + maxOtherBytes;
    if (size > maxBytes) throw new UnreadableImageError("too-large", `${size} bytes, at most ${maxBytes} are read`);
    const bytes = await Deno.readFile(path);
    return { bytes, sha256: await sha256Hex(bytes) };
  } catch (error) {
    if (error instanceof UnreadableImageError) throw error;
    throw new UnreadableImageError("io", (error as Error).message, { cause: error });
  }
}

/**
 * What identifies the content of an image, and its file's bytes where it is one: sha256 of the bytes, of that and the
 * transform where the image is transformed first. Throws as readImageFile() does.
 */
export async function readContent(
  input: ImageInput,
  maxPixels?: number,
): Promise<{ readonly sha256: string; readonly bytes?: Uint8Array<ArrayBuffer> }> {
  const { decoded, augmentation } = input;
  if (decoded !== undefined) return { sha256: decoded.sha256 };
  const { bytes, sha256 } = await contentOf(input, maxPixels);
  if (augmentation === undefined) return { bytes, sha256 };
  const text = `${sha256} ${canonicalJson(augmentation)}`;
  return { bytes, sha256: await sha256Hex(new TextEncoder().encode(text)) };
}

async function contentOf(
  { imageName, path, bytes, image }: ImageInput,
  maxPixels?: number,
): Promise<{ readonly sha256: string; readonly bytes?: Uint8Array<ArrayBuffer> }> {
  if (image !== undefined) {
    const head = new TextEncoder().encode(`rgb ${image.width} ${image.height} `);
    const content = new Uint8Array(head.length + image.data.length);
    content.set(head);
    content.set(image.data, head.length);
    return { sha256: await sha256Hex(content) };
  }
  if (bytes !== undefined) return { bytes, sha256: await sha256Hex(bytes) };
  if (path !== undefined) return await readImageFile(path, maxPixels);
  throw new TypeError(`${imageName}: expected a path, bytes or pixels, got none of them`);
}

/**
 * The pixels of an input at the given image sizes; `bytes` are what readContent() read of it. Throws UnreadableImageError.
 */
export async function pixelsOf(
  { decoded, image, augmentation }: ImageInput,
  bytes: Uint8Array | undefined,
  sizes: Iterable<number>,
  maxPixels = DEFAULT_MAX_PIXELS,
): Promise<Pixels> {
  if (decoded !== undefined) return decoded.pixels;
  const read = image ?? await decodeImage(bytes!, { maxPixels });
  if (read.width * read.height > maxPixels) {
    throw new UnreadableImageError(
      "too-large",
      `${read.width}x${read.height} pixels, at most ${maxPixels} are allowed`,
    );
  }
  return await prepare(read, sizes, augmentation);
}

/** Decodes an image and prepares it for the given image sizes. Throws UnreadableImageError. */
export async function decodePixels(
  bytes: Uint8Array,
  sizes: Iterable<number>,
  maxPixels = DEFAULT_MAX_PIXELS,
): Promise<Pixels> {
  return await prepare(await decodeImage(bytes, { maxPixels }), sizes);
}

async function prepare(
  image: RgbImage,
  sizes: Iterable<number>,
  augmentation: Augmentation | null = null,
): Promise<Pixels> {
  const bySize = new Map<number, Float32Array>();
  for (const size of new Set(sizes)) {
    const square = augmentation === null ? image : await augment8(resizeAndCrop(image, size), augmentation);
    bySize.set(size, preprocess(square, size));
  }
  return { width: image.width, height: image.height, bySize };
}

/** [n images] of [size, size, 3] in [0, 1] -> one array in the value range, as float32 x * (high - low) + low. */
export function toValueRange(
  images: readonly Float32Array[],
  [low, high]: readonly [number, number],
): Float32Array<ArrayBuffer> {
  const each = images[0]?.length ?? 0;
  const batch = new Float32Array(images.length * each);
  images.forEach((pixels, b) => {
    for (let i = 0; i < each; i++) batch[b * each + i] = pixels[i] * (high - low) + low;
  });
  return batch;
}
