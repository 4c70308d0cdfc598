// From the bytes of an image file to RGB pixels: checks format and size, then calls the codec.

import { DEFAULT_MAX_PIXELS, type RgbImage, UnreadableImageError } from "./image.ts";
import { decodeMagick } from "./magick.ts";
import { readSegments } from "./jpeg_segments.ts";
import { readChunks } from "./png_chunks.ts";
import { decodeDeepPng, isDeep } from "./png16.ts";
import { type ImageFormat, type ImageHeader, sniff } from "./sniff.ts";
import { decodeWebp, webpNotes } from "./webp.ts";
import { explainFileError } from "../../util/file_errors.ts";

export { DEFAULT_MAX_PIXELS, type RgbImage, UnreadableImageError, type UnreadableReason } from "./image.ts";
export { encodePng } from "./magick.ts";
export { type ImageFormat, type ImageHeader, sniff } from "./sniff.ts";

/** How an image is decoded. */
export interface DecodeOptions {
  /** Images with more pixels are refused. Default DEFAULT_MAX_PIXELS (64 Mi). */
  readonly maxPixels?: number;
  /** Name of the image in error messages. */
  readonly name?: string;
}

const CODECS: Record<ImageFormat, (bytes: Uint8Array, header: ImageHeader) => Promise<RgbImage>> = {
  png: async (bytes, header) => isDeep(bytes) ? decodeDeepPng(bytes) : await decodeMagick(bytes, header),
  jpeg: decodeMagick,
  webp: decodeWebp,
};

/**
 * Decodes a PNG, JPEG or WebP file to 8-bit RGB.
 *
 * The content tells the format, not the file name. The header tells the size, so an image with more than `maxPixels` is
 * refused before memory is allocated. Pixels are those of Pillow's `Image.open(path).convert("RGB")`: alpha is dropped,
 * not composited; orientation tags and colour profiles are ignored. Of 16 bits per sample the high byte is taken, as
 * Pillow and browsers do; of grey, too, which Pillow clips at 255.
 *
 * Throws only UnreadableImageError, whose `reason` says what is wrong.
 */
export async function decodeImage(bytes: Uint8Array, options: DecodeOptions = {}): Promise<RgbImage> {
  const { maxPixels = DEFAULT_MAX_PIXELS, name } = options;
  try {
    const header = sniff(bytes);
    const { format, width, height } = header;
    if (width * height > maxPixels) {
      throw new UnreadableImageError(
        "too-large",
        `${width}x${height} is ${width * height} pixels, at most ${maxPixels} are allowed (--max-pixels)`,
      );
    }
    return await CODECS[format](bytes, header);
  } catch (error) {
    if (!(error instanceof UnreadableImageError)) {
      throw new UnreadableImageError("corrupt", inName(name, (error as Error).message), { cause: error });
    }
    throw name === undefined ? error : new UnreadableImageError(error.reason, inName(name, error.message), {
      cause: error.cause,
    });
  }
}

const NOTES: Record<ImageFormat, (bytes: Uint8Array) => readonly string[]> = {
  png: (bytes) => readChunks(bytes).notes,
  jpeg: (bytes) => readSegments(bytes).notes,
  webp: webpNotes,
};

/**
 * What a reader of a verdict should know about an image file that decodeImage() decodes: flaws that no pixel depends
 * on, and what is not applied, such as an EXIF orientation, transparency or further frames. Empty for most files.
 * Throws as decodeImage() does.
 */
export function imageNotes(bytes: Uint8Array): readonly string[] {
  return NOTES[sniff(bytes).format](bytes);
}

/**
 * Reads and decodes one image file, as decodeImage() does. Messages begin with the path.
 *
 * Throws UnreadableImageError. The reason is `io` if the path is missing, not a regular file, or not readable.
 */
export async function readImage(path: string, options: DecodeOptions = {}): Promise<RgbImage> {
  const { maxPixels = DEFAULT_MAX_PIXELS, name = path } = options;
  return await decodeImage(await readImageBytes(path, maxPixels, name), { maxPixels, name });
}

/** Bytes per pixel of the largest format (16-bit RGBA), and bytes of whatever else a file may hold. */
const maxBytesPerPixel = 8, maxOtherBytes = 16 * 1024 * 1024;

/**
 * Reads an image file. Throws UnreadableImageError: `io`, or `too-large` for files that are larger than any image of
 * `maxPixels`. `name` begins the messages.
 */
export async function readImageBytes(
  path: string,
  maxPixels = DEFAULT_MAX_PIXELS,
  name?: string,
): Promise<Uint8Array<ArrayBuffer>> {
  try {
    const { isFile, isDirectory, size } = await Deno.stat(path);
    if (!isFile) {
      const kind = isDirectory ? "a folder" : "a device or pipe";
      throw new UnreadableImageError("io", inName(name, `expected a regular file, got ${kind}`));
    }
    const maxBytes = maxPixels * maxBytesPerPixel + maxOtherBytes;
    if (size > maxBytes) {
      throw new UnreadableImageError("too-large", inName(name, `${size} bytes, at most ${maxBytes} are read`));
    }
    return await Deno.readFile(path);
  } catch (error) {
    if (error instanceof UnreadableImageError) throw error;
    throw new UnreadableImageError("io", inName(name, explainFileError((error as Error).message)), { cause: error });
  }
}

function inName(name: string | undefined, message: string): string {
  return name === undefined ? message : `${name}: ${message}`;
}
