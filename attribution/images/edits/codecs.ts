// Edits by ImageMagick's WebAssembly build: files of WebP by libwebp, and few colours.

import {
  DitherMethod,
  MagickFormat,
  MagickImage,
  MagickReadSettings,
  QuantizeSettings,
} from "npm:@imagemagick/magick-wasm@0.0.43";
import type { RgbImage } from "../image.ts";
import { startMagick } from "../magick.ts";
import type { EditOf } from "./edit.ts";

/**
 * The bytes of a lossy WebP: libwebp's method 4, without metadata.
 *
 * Throws RangeError unless the sides are 1..16383 pixels, the limit of the format.
 */
export async function encodeWebp(image: RgbImage, quality: number): Promise<Uint8Array> {
  if (image.width > 16383 || image.height > 16383) {
    throw new RangeError(`encodeWebp: expected sides of 1..16383 pixels, got ${image.width}x${image.height}`);
  }
  return await withMagick(image, (magick) => {
    magick.quality = quality;
    magick.settings.setDefine(MagickFormat.WebP, "lossless", "false"); // else without loss at quality 100
    magick.settings.setDefine(MagickFormat.WebP, "method", "4");
    return magick.write(MagickFormat.WebP, (bytes) => bytes.slice());
  });
}

/** At most so many colours, by ImageMagick's octree. */
export async function palette(image: RgbImage, { colours, dither = false }: EditOf<"palette">): Promise<RgbImage> {
  const { width, height } = image;
  return await withMagick(image, (magick) => {
    const settings = new QuantizeSettings();
    settings.colors = colours;
    settings.ditherMethod = dither ? DitherMethod.FloydSteinberg : DitherMethod.No;
    magick.quantize(settings);
    const data = magick.getPixels((pixels) => pixels.toByteArray(0, 0, width, height, "RGB"));
    if (data === null) throw new Error("palette: ImageMagick returned no pixels");
    return { width, height, data };
  });
}

async function withMagick<T>({ width, height, data }: RgbImage, use: (image: MagickImage) => T): Promise<T> {
  await startMagick();
  const settings = new MagickReadSettings({ format: MagickFormat.Rgb, width, height, depth: 8 });
  const image = MagickImage.create(data, settings);
  try {
    return use(image as MagickImage);
  } finally {
    image.dispose();
  }
}
