// Resizes an image down and up again. The form for floats is PyTorch's antialiased interpolation, the form for bytes
// Pillow's.

import type { RgbImage } from "../image.ts";
import { pilResize } from "../pil_resize.ts";
import type { FloatImage } from "./float_image.ts";
import { clamp01 } from "./float_image.ts";

/** Interpolation of float images. */
export type FloatFilter = "bilinear" | "bicubic";

/** Resizes to int(side * ratio) and back, bilinear and antialiased, then clamps. torchvision's `resize` of a tensor. */
export function resizeAndBack(image: FloatImage, ratio: number): FloatImage {
  const { width, height } = image;
  const small = resizeFloat(image, shrunk("resizeAndBack", width, ratio), shrunk("resizeAndBack", height, ratio));
  const { data } = resizeFloat(small, width, height);
  return { width, height, data: data.map(clamp01) };
}

/** The same for bytes, with Pillow's default filter, bicubic. */
export function resizeAndBack8(image: RgbImage, ratio: number): RgbImage {
  const { width, height } = image;
  const [w, h] = [shrunk("resizeAndBack8", width, ratio), shrunk("resizeAndBack8", height, ratio)];
  return pilResize(pilResize(image, w, h, "bicubic"), width, height, "bicubic");
}

function shrunk(operation: string, side: number, ratio: number): number {
  if (!(ratio > 0 && ratio <= 1)) throw new RangeError(`${operation}: expected a ratio in (0, 1], got ${ratio}`);
  return Math.max(1, Math.trunc(side * ratio));
}

const FILTERS: Record<FloatFilter, { support: number; weight: (t: number) => number }> = {
  bilinear: { support: 1, weight: (t) => Math.max(0, 1 - t) },
  bicubic: { // Keys' cubic with a = -0.5, as in Pillow; PyTorch without antialiasing uses -0.75
    support: 2,
    weight: (t) => t < 1 ? (1.5 * t - 2.5) * t * t + 1 : t < 2 ? ((-0.5 * t + 2.5) * t - 4) * t + 2 : 0,
  },
};

/**
 * PyTorch's `interpolate(mode, antialias=True, align_corners=False)` to width x height pixels, horizontally, then
 * vertically. Bicubic results may lie outside of [0, 1]. Throws RangeError unless width and height are positive
 * integers.
 */
export function resizeFloat(
  { width: fromWidth, height: fromHeight, data }: FloatImage,
  width: number,
  height: number,
  filter: FloatFilter = "bilinear",
): FloatImage {
  if (!Number.isInteger(width) || !Number.isInteger(height) || width < 1 || height < 1) {
    throw new RangeError(`resizeFloat: expected a size of at least 1x1, got ${width}x${height}`);
  }
  const wide = resample(data, [fromHeight, fromWidth, 3], width, filter);
  return { width, height, data: resample(wide, [1, fromHeight, width * 3], height, filter) };
}

/** [outer, inputs, inner] -> [outer, outputs, inner] */
function resample(
  data: Float32Array,
  [outer, inputs, inner]: readonly [outer: number, inputs: number, inner: number],
  outputs: number,
  filter: FloatFilter,
): Float32Array {
  if (inputs === outputs) return data;
  const { support, weight } = FILTERS[filter];
  const scale = inputs / outputs;
  const stretch = Math.max(scale, 1); // when shrinking, the filter covers all input pixels of an output pixel
  const out = new Float32Array(outer * outputs * inner);
  const sums = new Float64Array(inner);
  for (let i = 0; i < outputs; i++) {
    const centre = (i + 0.5) * scale;
    const from = Math.max(0, Math.trunc(centre - support * stretch + 0.5));
    const to = Math.min(inputs, Math.trunc(centre + support * stretch + 0.5));
    const weights = Array.from({ length: to - from }, (_, k) => weight(Math.abs(from + k - centre + 0.5) / stretch));
    const total = weights.reduce((sum, value) => sum + value, 0);
    for (let o = 0; o < outer; o++) {
      sums.fill(0);
      for (let k = 0; k < weights.length; k++) {
        const share = weights[k] / total, at = (o * inputs + from + k) * inner;
        for (let j = 0; j < inner; j++) sums[j] += data[at + j] * share;
      }
      out.set(sums, (o * outputs + i) * inner);
    }
  }
  return out;
}
