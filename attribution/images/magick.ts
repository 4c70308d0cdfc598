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
import { ascii, type ImageHeader, PNG_SIGNATURE, viewOf } from "./sniff.ts";

const FORMATS = {
  png: { name: "PNG", format: MagickFormat.Png, end: "the chunk IEND", endsEarly: endsEarlyPng },
  jpeg: { name: "JPEG", format: MagickFormat.Jpeg, end: "the end-of-image marker", endsEarly: endsEarlyJpeg },
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

/** Compiles and starts ImageMagick (15 MB) with the first image. */
function start(): Promise<void> {
  // @ts-types="./magick_wasm.d.ts"
  return ready ??= import("./magick_wasm.js").then((wasm) => initializeImageMagick(wasm.default));
}

/**
 * Decodes any PNG or JPEG that libpng or libjpeg-turbo reads. `header` is the result of sniff().
 *
 * Pixels are those of Pillow's `convert("RGB")`, except for 16-bit PNG. Their samples are rounded to 8 bits here, while
 * Pillow truncates, so a quarter of them differ by 1. (16-bit grey: Pillow clips at 255, so most such images turn
 * white.)
 *
 * Throws UnreadableImageError: `truncated`, `corrupt`, `unsupported` (hierarchical JPEG, unknown critical chunks).
 */
export async function decodeMagick(bytes: Uint8Array, header: ImageHeader): Promise<RgbImage> {
  const { width, height } = header;
  const { name, format, end, endsEarly } = FORMATS[header.format as keyof typeof FORMATS];
  if (endsEarly(bytes)) {
    throw new UnreadableImageError("truncated", `${name}: the file ends at byte ${bytes.length}, before ${end}`);
  }
  await start();
  const image = MagickImage.create();
  const warnings: string[] = [];
  image.onWarning = ({ error }) => warnings.push(...messages(error));
  try {
    image.read(bytes, new MagickReadSettings({ format }));
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
  await start();
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

/** Whether the file ends before the chunk IEND. */
function endsEarlyPng(bytes: Uint8Array): boolean {
  let at = PNG_SIGNATURE.length;
  while (at + 12 <= bytes.length) {
    if (ascii(bytes, at + 4, 4) === "IEND") return false;
    at += 12 + viewOf(bytes).getUint32(at);
  }
  return true;
}

/** Whether the file ends before the end-of-image marker (ITU T.81, B.1.1). Entropy-coded data is skipped. */
function endsEarlyJpeg(bytes: Uint8Array): boolean {
  let at = 2;
  while (at + 2 <= bytes.length) {
    const marker = bytes[at + 1];
    if (bytes[at] !== 0xff || marker === 0xff) at += 1;
    else if (marker === 0xd9) return false;
    else if (marker <= 0x01 || (marker >= 0xd0 && marker <= 0xd8)) at += 2; // no segment follows
    else at += 2 + (at + 4 <= bytes.length ? viewOf(bytes).getUint16(at + 2) : 2);
  }
  return true;
}
