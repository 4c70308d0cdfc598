// The reference's preprocessing: resizes the shorter side to the image size, crops the centre, and scales to [0, 1].

import type { RgbImage } from "./image.ts";
import { type PilFilter, pilResize } from "./pil_resize.ts";

/**
 * Resizes the shorter side to `size` pixels and crops the centred square. An image of that size is not changed.
 *
 * Source: torchvision's `Resize(size)` (bilinear) and `CenterCrop(size)` on Pillow images, which
 * sprintml/DataProvenanceIAR (dataprov/models/base.py) uses for both families.
 */
export function resizeAndCrop(image: RgbImage, size: number, filter: PilFilter = "bilinear"): RgbImage {
  return centerCrop(resizeShorterSide(image, size, filter), size);
}

/**
 * The image as networks take it, before it is scaled to a value range: [size, size, 3], row-major, in [0, 1]. Each
 * value is float32(byte / 255).
 */
export function preprocess(image: RgbImage, size: number): Float32Array {
  const { data } = resizeAndCrop(image, size);
  const pixels = new Float32Array(data.length);
  for (let i = 0; i < data.length; i++) pixels[i] = data[i] / 255;
  return pixels;
}

/** Resizes to shorter side `size` and longer side int(size * long / short). An image of that size is copied. */
export function resizeShorterSide(image: RgbImage, size: number, filter: PilFilter = "bilinear"): RgbImage {
  const { width, height } = image;
  const long = (side: number, short: number) => Math.trunc((size * side) / short);
  return width <= height
    ? pilResize(image, size, long(height, width), filter)
    : pilResize(image, long(width, height), size, filter);
}

/** Crops the centred size x size square. Throws a RangeError if the image is smaller; padding would invent pixels. */
export function centerCrop(image: RgbImage, size: number): RgbImage {
  const { width, height, data } = image;
  if (width < size || height < size) {
    throw new RangeError(`centerCrop: expected at least ${size}x${size} pixels, got ${width}x${height}`);
  }
  if (width === size && height === size) return image;
  const left = roundHalfToEven((width - size) / 2);
  const top = roundHalfToEven((height - size) / 2);
  const out = new Uint8Array(size * size * 3);
  for (let y = 0; y < size; y++) {
    const from = ((top + y) * width + left) * 3;
    out.set(data.subarray(from, from + size * 3), y * size * 3);
  }
  return { width: size, height: size, data: out };
}

/** Rounds half to even, as Python's round(), for x of at least 0. */
export function roundHalfToEven(x: number): number {
  const floor = Math.floor(x);
  return x - floor === 0.5 ? floor + (floor % 2) : Math.round(x);
}
