// Decodes PNG and JPEG with libpng and libjpeg-turbo from ImageMagick's WebAssembly build (@imagemagick/magick-wasm),
// and decides which of their warnings mean damaged pixels.

import {
  ColorSpace,
  initializeImageMagick,
  MagickError,
  MagickFormat,
  MagickImage,
  MagickReadSettings,
} from "npm:@imagemagick/magick-wasm@0.0.43";
import { type RgbImage, UnreadableImageError } from "./image.ts";
import { readSegments, truncatedJpeg } from "./jpeg_segments.ts";
import { readChunks } from "./png_chunks.ts";
import type { ImageHeader } from "./sniff.ts";

const FORMATS = {
  png: { name: "PNG", format: MagickFormat.Png },
  jpeg: { name: "JPEG", format: MagickFormat.Jpeg },
};

/**
 * Warnings that mean damage: the libraries return pixels that the file does not have, or whose checksum is wrong. Other
 * warnings concern metadata, mostly colour profiles, or bytes that no pixel depends on.
 */
const DAMAGE: readonly RegExp[] = [
  /^Premature end of JPEG file/,
  /^Corrupt JPEG data: (?!\d+ extraneous bytes)/, // Huffman codes, restart markers, a scan that ends early
  /CRC error/,
  /Too much image data/,
];

/** Messages of the libraries about valid varieties of a format that they do not decode. */
const UNSUPPORTED = /unsupported|not implemented|unhandled critical chunk/i;

let ready: Promise<void> | undefined;

/**
 * Compiles and starts ImageMagick (15 MB) with the first image. Starting it again elsewhere would discard the instance
 * that is in use.
 */
export function startMagick(): Promise<void> {
  // @ts-types="./magick_wasm.d.ts"
  return ready ??= import("./magick_wasm.js").then((wasm) => initializeImageMagick(wasm.default));
}

/**
 * Decodes any JPEG that libjpeg-turbo reads, and any PNG of up to 8 bits per sample that libpng reads; it would round 16
 * bits (png16.ts). `header` is the result of sniff(). Pixels are those of Pillow's `convert("RGB")`.
 *
 * The libraries get the file without metadata. Of a JPEG without an end-of-image marker they get one with it: they warn
 * if its last scan ends early.
 *
 * Throws UnreadableImageError: `truncated`, `corrupt`, `too-large` (scans), `unsupported` (hierarchical JPEG, unknown
 * critical chunks).
 */
export async function decodeMagick(bytes: Uint8Array, header: ImageHeader): Promise<RgbImage> {
  const { width, height } = header;
  const { name, format } = FORMATS[header.format as keyof typeof FORMATS];
  const isPng = header.format === "png";
  const { file, hasEnd } = isPng ? { ...readChunks(bytes), hasEnd: true } : readSegments(bytes);
  await startMagick();
  const image = MagickImage.create();
  const warnings: string[] = [];
  image.onWarning = ({ error }) => warnings.push(...messages(error));
  try {
    image.read(file, new MagickReadSettings({ format }));
    const damage = warnings.find((warning) => DAMAGE.some((pattern) => pattern.test(warning)));
    if (damage !== undefined) throw new Error(damage);
    if (image.width !== width || image.height !== height) {
      throw new Error(`the image has ${image.width}x${image.height} pixels, the header says ${width}x${height}`);
    }
    if (image.colorSpace === ColorSpace.CMYK) image.colorSpace = ColorSpace.sRGB;
    const data = image.getPixels((pixels) => pixels.toByteArray(0, 0, width, height, "RGB"));
    if (data === null) throw new Error("no pixels");
    return { width, height, data };
  } catch (cause) {
    if (!hasEnd) throw truncatedJpeg(bytes); // the last scan ends early, too
    const [message] = messages(cause as Error);
    throw new UnreadableImageError(UNSUPPORTED.test(message) ? "unsupported" : "corrupt", `${name}: ${message}`, {
      cause,
    });
  } finally {
    image.dispose();
  }
}

/**
 * Encodes an 8-bit RGB PNG, not interlaced, without metadata. Decoding it gives the same pixels.
 *
 * Throws RangeError if `data` is not width * height * 3 bytes.
 */
export async function encodePng({ width, height, data }: RgbImage): Promise<Uint8Array> {
  if (!(width >= 1 && height >= 1) || data.length !== width * height * 3) {
    throw new RangeError(`encodePng: ${width}x${height} RGB expects ${width * height * 3} bytes, got ${data.length}`);
  }
  await startMagick();
  const settings = new MagickReadSettings({ format: MagickFormat.Rgb, width, height, depth: 8 });
  const image = MagickImage.create(data, settings);
  try {
    image.quality = 65; // DEFLATE level 6, and the row filter of each row by its sum of magnitudes
    image.settings.setDefine(MagickFormat.Png, "exclude-chunk", "all");
    return image.write(MagickFormat.Png24, (bytes) => bytes.slice());
  } finally {
    image.dispose();
  }
}

/** The messages of an error or warning and of related ones, without positions in ImageMagick's source. */
function messages(error: Error): string[] {
  const message = error.message.replace(/\s*`.*|\s*@ (error|warning)\/.*/s, "");
  return error instanceof MagickError ? [message, ...error.relatedErrors.flatMap(messages)] : [message];
}
