// The reference's preprocessing: the shorter side to the model's size, a centred square, values in [0, 1]. Moving to
// [-1, 1] and to a tensor is the model's business; so are the training-time crops and flips.

import type { RgbImage } from "./image.ts";
import { type PilFilter, pilResize } from "./pil_resize.ts";

/**
 * Resizes the shorter side to `size` and cuts out the centred size x size square; an image of that size is unchanged.
 *
 * torchvision's `Resize(size)` (bilinear) and `CenterCrop(size)` on Pillow images, the default transform of
 * sprintml/DataProvenanceIAR (dataprov/models/base.py) for both families.
 */
export function resizeAndCrop(image: RgbImage, size: number, filter: PilFilter = "bilinear"): RgbImage {
  return centerCrop(resizeShorterSide(image, size, filter), size);
}

/**
 * The image as the networks take it, before scaling to a family's value range: [size, size, 3], row-major, float32 in
 * [0, 1], each value float32(byte / 255).
 */
export function preprocess(image: RgbImage, size: number): Float32Array {
  const { data } = resizeAndCrop(image, size);
  const pixels = new Float32Array(data.length);
  for (let i = 0; i < data.length; i++) pixels[i] = data[i] / 255;
  return pixels;
}

/** Shorter side = `size`, longer side = int(size * long / short); nothing is resampled if that is already so. */
export function resizeShorterSide(image: RgbImage, size: number, filter: PilFilter = "bilinear"): RgbImage {
  const { width, height } = image;
  const long = (side: number, short: number) => Math.trunc((size * side) / short);
  return width <= height
    ? pilResize(image, size, long(height, width), filter)
    : pilResize(image, long(width, height), size, filter);
}

/** The centred size x size square. Throws RangeError if the image is smaller than that: padding would invent pixels. */
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

/** Python's round() for non-negative multiples of one half. */
function roundHalfToEven(x: number): number {
  const floor = Math.floor(x);
  return x - floor === 0.5 ? floor + (floor % 2) : Math.round(x);
}
