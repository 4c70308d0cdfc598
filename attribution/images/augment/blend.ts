// Brightness, contrast and saturation. Each mixes the image with a plain one: black, its mean grey, or its grey
// version. Rounding is that of the originals, torchvision for float tensors and Pillow for bytes.

import type { RgbImage } from "../image.ts";
import { clamp01, type FloatImage } from "./float_image.ts";

const f32 = Math.fround;

/** clamp(factor * x). Factor 0 gives black, 1 the image. torchvision's `adjust_brightness`. */
export function brightness(image: FloatImage, factor: number): FloatImage {
  const mix = mixer("brightness", factor);
  return { ...image, data: image.data.map((value) => mix(value, 0)) };
}

/**
 * clamp(factor * x + (1 - factor) * mean grey of the image), torchvision's `adjust_contrast`. The mean is not rounded.
 */
export function contrast(image: FloatImage, factor: number): FloatImage {
  const mix = mixer("contrast", factor);
  const grey = greyOf(image);
  const mean = f32(grey.reduce((sum, value) => sum + value, 0) / grey.length);
  return { ...image, data: image.data.map((value) => mix(value, mean)) };
}

/** clamp(factor * x + (1 - factor) * grey of the pixel), torchvision's `adjust_saturation`. */
export function saturation(image: FloatImage, factor: number): FloatImage {
  const mix = mixer("saturation", factor);
  const grey = greyOf(image);
  return { ...image, data: image.data.map((value, i) => mix(value, grey[Math.trunc(i / 3)])) };
}

/** Pillow's `ImageEnhance.Brightness(image).enhance(factor)`. */
export function brightness8(image: RgbImage, factor: number): RgbImage {
  const mix = mixer8("brightness8", factor);
  const table = Uint8Array.from({ length: 256 }, (_, value) => mix(0, value));
  return { ...image, data: image.data.map((value) => table[value]) };
}

/** Pillow's `ImageEnhance.Contrast(image).enhance(factor)`. The mean grey is rounded to an integer. */
export function contrast8(image: RgbImage, factor: number): RgbImage {
  const mix = mixer8("contrast8", factor);
  const grey = grey8Of(image);
  const mean = Math.trunc(grey.reduce((sum, value) => sum + value, 0) / grey.length + 0.5);
  const table = Uint8Array.from({ length: 256 }, (_, value) => mix(mean, value));
  return { ...image, data: image.data.map((value) => table[value]) };
}

/** Pillow's `ImageEnhance.Color(image).enhance(factor)`. */
export function saturation8(image: RgbImage, factor: number): RgbImage {
  const mix = mixer8("saturation8", factor);
  const grey = grey8Of(image);
  return { ...image, data: image.data.map((value, i) => mix(grey[Math.trunc(i / 3)], value)) };
}

/** factor * x + (1 - factor) * plain, clamped to [0, 1]. Products and sum are rounded to float32. */
function mixer(operation: string, factor: number): (x: number, plain: number) => number {
  checkFactor(operation, factor);
  const weight = f32(factor), plainWeight = f32(1 - factor);
  return (x, plain) => clamp01(f32(f32(weight * x) + f32(plainWeight * plain)));
}

/** Pillow's `Image.blend` (src/libImaging/Blend.c): float32, clipped, truncated. */
function mixer8(operation: string, factor: number): (plain: number, value: number) => number {
  checkFactor(operation, factor);
  const weight = f32(factor);
  return (plain, value) => {
    const mixed = f32(plain + f32(weight * (value - plain)));
    return mixed <= 0 ? 0 : mixed >= 255 ? 255 : Math.trunc(mixed);
  };
}

/** Grey values [height, width]: 0.2989 R + 0.587 G + 0.114 B, torchvision's `rgb_to_grayscale`. */
function greyOf({ width, height, data }: FloatImage): Float32Array {
  const r = f32(0.2989), g = f32(0.587), b = f32(0.114);
  const out = new Float32Array(width * height);
  for (let i = 0, at = 0; i < out.length; i++, at += 3) {
    out[i] = f32(f32(r * data[at]) + f32(g * data[at + 1])) + f32(b * data[at + 2]);
  }
  return out;
}

/** Grey values [height, width]: ITU-R 601 with 16 fractional bits, Pillow's `convert("L")`. */
function grey8Of({ width, height, data }: RgbImage): Uint8Array {
  const out = new Uint8Array(width * height);
  for (let i = 0, at = 0; i < out.length; i++, at += 3) {
    out[i] = (19595 * data[at] + 38470 * data[at + 1] + 7471 * data[at + 2] + 0x8000) >> 16;
  }
  return out;
}

function checkFactor(operation: string, factor: number): void {
  if (!(factor >= 0 && factor < Infinity)) {
    throw new RangeError(`${operation}: expected a factor of at least 0 (1 changes nothing), got ${factor}`);
  }
}
