// JPEG compression with Pillow's settings, by libjpeg-turbo as ImageMagick compiles it to WebAssembly. No JPEG arithmetic
// is done here, and no other flavour is offered: progressive, 4:4:4 or optimised files are other transforms.

import { ColorType, MagickFormat, MagickImage, MagickReadSettings } from "npm:@imagemagick/magick-wasm@0.0.43";
import { decodeImage, encodePng } from "../decode.ts";
import type { RgbImage } from "../image.ts";
import { type FloatImage, toFloatImage, toRgbImage } from "./float_image.ts";

/** Compresses and reads back. `quality` 1..100, lower is stronger; values are cut off to bytes before. */
export async function jpeg(image: FloatImage, quality: number): Promise<FloatImage> {
  return toFloatImage(await jpeg8(toRgbImage(image), quality));
}

/** Compresses and reads back bytes. `quality` 1..100, lower is stronger. */
export async function jpeg8(image: RgbImage, quality: number): Promise<RgbImage> {
  return await decodeImage(await encodeJpeg(image, quality), { name: "jpeg8" });
}

/**
 * The bytes that Pillow's `image.save(file, format="JPEG", quality=quality)` writes: baseline, 4:2:0 at every quality, the
 * standard's quantisation tables scaled by libjpeg's rule and its Huffman tables as they are, no metadata but JFIF 1.01.
 *
 * Throws RangeError for another quality than 1..100 in whole numbers, and for data that is not [height, width, 3].
 */
export async function encodeJpeg({ width, height, data }: RgbImage, quality: number): Promise<Uint8Array> {
  if (!Number.isInteger(quality) || quality < 1 || quality > 100) {
    throw new RangeError(`encodeJpeg: expected a quality of 1..100, got ${quality}`);
  }
  if (!(width >= 1 && height >= 1 && width <= 65535 && height <= 65535) || data.length !== width * height * 3) {
    throw new RangeError(
      `encodeJpeg: expected [height, width, 3] with sides of 1..65535, got ${width}x${height} and ${data.length} bytes`,
    );
  }
  await start();
  const settings = new MagickReadSettings({ format: MagickFormat.Rgb, width, height, depth: 8 });
  const image = MagickImage.create(data, settings);
  try {
    image.quality = quality;
    image.settings.colorType = ColorType.TrueColor; // else an image that happens to be grey becomes a one-channel file
    image.settings.setDefine(MagickFormat.Jpeg, "sampling-factor", "4:2:0"); // else 4:4:4 from quality 90 on
    image.settings.setDefine(MagickFormat.Jpeg, "optimize-coding", "false");
    image.settings.setDefine(MagickFormat.Jpeg, "dct-method", "islow"); // else floating point
    return image.write(MagickFormat.Jpeg, (bytes) => bytes.slice());
  } finally {
    image.dispose();
  }
}

let ready: Promise<unknown> | undefined;

/** The image codecs start ImageMagick with their first image; starting it a second time would throw away theirs. */
function start(): Promise<unknown> {
  return ready ??= encodePng({ width: 1, height: 1, data: new Uint8Array(3) });
}
