// From the bytes of an image file to RGB pixels: checks the format and the size, then calls the codec. It knows no codec
// from the inside, and it never looks at a file's name except to open it.

import { DEFAULT_MAX_PIXELS, type RgbImage, UnreadableImageError } from "./image.ts";
import { decodeMagick } from "./magick.ts";
import { type ImageFormat, type ImageHeader, sniff } from "./sniff.ts";
import { decodeWebp } from "./webp.ts";

export { DEFAULT_MAX_PIXELS, type RgbImage, UnreadableImageError, type UnreadableReason } from "./image.ts";
export { encodePng } from "./magick.ts";
export { type ImageFormat, type ImageHeader, sniff } from "./sniff.ts";

export interface DecodeOptions {
  /** Refuse images with more pixels; default DEFAULT_MAX_PIXELS (64 Mi). */
  readonly maxPixels?: number;
  /** What error messages call the image, for example its file name. */
  readonly name?: string;
}

const CODECS: Record<ImageFormat, (bytes: Uint8Array, header: ImageHeader) => Promise<RgbImage>> = {
  png: decodeMagick,
  jpeg: decodeMagick,
  webp: decodeWebp,
};

/**
 * Decodes a PNG, JPEG or WebP file to 8-bit RGB.
 *
 * The format comes from the content, never from a file name, and the size from the header: an image of more than
 * `maxPixels` is refused before anything is decoded or allocated for it. Pixels are those of Pillow's
 * `Image.open(path).convert("RGB")`: alpha is dropped, not composited; orientation tags and colour profiles are ignored.
 *
 * Throws UnreadableImageError, and nothing else, for bad content; see its `reason`.
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

/**
 * Reads and decodes one image file, as decodeImage() does; messages begin with the file's path.
 *
 * Throws UnreadableImageError, with the reason `io` for a path that is missing, no regular file, or not readable.
 */
export async function readImage(path: string, options: DecodeOptions = {}): Promise<RgbImage> {
  const { maxPixels = DEFAULT_MAX_PIXELS, name = path } = options;
  let bytes: Uint8Array;
  try {
    const { isFile, isDirectory, size } = await Deno.stat(path);
    if (!isFile) {
      const found = isDirectory ? "a folder" : "a device or pipe";
      throw new UnreadableImageError("io", inName(name, `expected a regular file, got ${found}`));
    }
    // The largest pixel of any format has 8 bytes (16-bit RGBA): a larger file need not be read to be refused.
    const maxBytes = maxPixels * 8 + 16 * 1024 * 1024;
    if (size > maxBytes) {
      throw new UnreadableImageError("too-large", inName(name, `${size} bytes, at most ${maxBytes} are read`));
    }
    bytes = await Deno.readFile(path);
  } catch (error) {
    if (error instanceof UnreadableImageError) throw error;
    throw new UnreadableImageError("io", inName(name, (error as Error).message), { cause: error });
  }
  return await decodeImage(bytes, { maxPixels, name });
}

function inName(name: string | undefined, message: string): string {
  return name === undefined ? message : `${name}: ${message}`;
}
