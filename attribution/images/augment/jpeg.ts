// JPEG compression with Pillow's default settings, by libjpeg-turbo from ImageMagick's WebAssembly build.

import { ColorType, MagickFormat, MagickImage, MagickReadSettings } from "npm:@imagemagick/magick-wasm@0.0.43";
import { decodeImage } from "../decode.ts";
import type { RgbImage } from "../image.ts";
import { startMagick } from "../magick.ts";
import { type FloatImage, toFloatImage, toRgbImage } from "./float_image.ts";

/** Compresses and decodes. `quality` is 1..100, lower is stronger. Values are truncated to bytes before. */
export async function jpeg(image: FloatImage, quality: number): Promise<FloatImage> {
  return toFloatImage(await jpeg8(toRgbImage(image), quality));
}

/** Compresses and decodes bytes. `quality` is 1..100, lower is stronger. */
export async function jpeg8(image: RgbImage, quality: number): Promise<RgbImage> {
  return await decodeImage(await encodeJpeg(image, quality), { name: "jpeg8" });
}

/**
 * The bytes that Pillow's `image.save(file, format="JPEG", quality=quality)` writes: baseline, the standard's
 * quantisation tables scaled by libjpeg's rule, the standard's Huffman tables, and no metadata except JFIF 1.01.
 * Subsampling is 4:2:0 at every quality, unless another is given.
 *
 * Throws RangeError unless the quality is an integer of 1..100 and the data is [height, width, 3].
 */
export async function encodeJpeg(
  { width, height, data }: RgbImage,
  quality: number,
  subsampling: "4:2:0" | "4:4:4" = "4:2:0",
): Promise<Uint8Array> {
  if (!Number.isInteger(quality) || quality < 1 || quality > 100) {
    throw new RangeError(`encodeJpeg: expected a quality of 1..100, got ${quality}`);
  }
  if (!(width >= 1 && height >= 1 && width <= 65535 && height <= 65535) || data.length !== width * height * 3) {
    throw new RangeError(
      `encodeJpeg: expected [height, width, 3] with sides of 1..65535, got ${width}x${height} and ${data.length} bytes`,
    );
  }
  await startMagick();
  const settings = new MagickReadSettings({ format: MagickFormat.Rgb, width, height, depth: 8 });
  const image = MagickImage.create(data, settings);
  try {
    image.quality = quality;
    image.settings.colorType = ColorType.TrueColor; // else a grey image would become a file of one channel
    image.settings.setDefine(MagickFormat.Jpeg, "sampling-factor", subsampling); // else 4:4:4 from quality 90 on
    image.settings.setDefine(MagickFormat.Jpeg, "optimize-coding", "false");
    image.settings.setDefine(MagickFormat.Jpeg, "dct-method", "islow"); // else floating point
    return image.write(MagickFormat.Jpeg, (bytes) => bytes.slice());
  } finally {
    image.dispose();
  }
}
