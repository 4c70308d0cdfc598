// Additive Gaussian noise from a seed. The random numbers come from Philox. The reference draws them with PyTorch and
// NumPy, so only the distribution is the same.

import { normals } from "../../../core/tensor/mod.ts";
import type { RgbImage } from "../image.ts";
import { clamp01, type FloatImage } from "./float_image.ts";

const f32 = Math.fround;

/** clamp(x + deviation * n), with a standard normal n per value. `deviation` is a share of the range, at least 0. */
export function gaussianNoise(image: FloatImage, deviation: number, seed: number): FloatImage {
  checkDeviation("gaussianNoise", deviation);
  const n = normals(seed, NOISE_STREAM, image.data.length);
  return { ...image, data: image.data.map((value, i) => clamp01(f32(value + f32(n[i] * f32(deviation))))) };
}

/** The same noise on bytes: value + 255 * deviation * n, clipped to 0..255 and truncated, as in the reference. */
export function gaussianNoise8(image: RgbImage, deviation: number, seed: number): RgbImage {
  checkDeviation("gaussianNoise8", deviation);
  const n = normals(seed, NOISE_STREAM, image.data.length);
  const data = image.data.map((value, i) => Math.min(255, Math.max(0, value + 255 * deviation * n[i])));
  return { ...image, data };
}

/** The random stream of this file, so that other uses of the same seed draw other numbers. */
const NOISE_STREAM = 0x6e6f6973; // "nois"

function checkDeviation(operation: string, deviation: number): void {
  if (!(deviation >= 0 && deviation < Infinity)) {
    throw new RangeError(`${operation}: expected a deviation of at least 0, got ${deviation}`);
  }
}
