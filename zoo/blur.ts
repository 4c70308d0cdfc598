/**
 * Photographs smoothed until they are as smooth as what the zoo's transformers draw: outliers that look generated.
 * Which photographs, and how many, is decided in nonmembers.ts.
 */
import { gaussianBlur8 } from "../attribution/images/augment/mod.ts";
import type { RgbImage } from "../attribution/images/image.ts";
import { pilResize } from "../attribution/images/pil_resize.ts";
import { luma } from "./photos.ts";

/**
 * Deciles of `sharpness`, from the least to the greatest, of the 320 generated images in examples/Dataset/train. Of the
 * photographs in val, half are above 0.13.
 */
export const generatedSharpness = [
  0.0041,
  0.0135,
  0.0179,
  0.022,
  0.0277,
  0.0312,
  0.0364,
  0.041,
  0.0476,
  0.0621,
  0.1065,
] as const;

/** Mean squared difference of neighbouring grey levels over the variance of all; 2 for white noise, 0 for a flat image. */
export function sharpness({ width, height, data }: RgbImage): number {
  let sum = 0, squares = 0, differences = 0;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const at = (y * width + x) * 3, grey = luma(data, at);
      sum += grey;
      squares += grey * grey;
      if (x + 1 < width) differences += (luma(data, at + 3) - grey) ** 2;
      if (y + 1 < height) differences += (luma(data, at + 3 * width) - grey) ** 2;
    }
  }
  const pixels = width * height, pairs = (width - 1) * height + width * (height - 1);
  const variance = squares / pixels - (sum / pixels) ** 2;
  return variance > 1e-6 ? differences / pairs / variance : 0;
}

/** Ways to smooth an image: each yields it smoother and smoother. */
export const smoothings = {
  /** Gaussian blur. */
  *gaussian(image: RgbImage) {
    for (let sigma = 0.5; sigma <= 5; sigma += 0.1) yield gaussianBlur8(image, 2 * Math.ceil(3 * sigma) + 1, sigma);
  },
  /** Reduced in size and enlarged again. */
  *enlarged(image: RgbImage) {
    const { width, height } = image;
    for (let share = 0.8; share > 0.1; share *= 0.95) {
      const [w, h] = [width, height].map((side) => Math.max(1, Math.round(side * share)));
      yield pilResize(pilResize(image, w, h, "bicubic"), width, height, "bicubic");
    }
  },
  /** Medians of squares, a little blurred: patches with soft edges. */
  *median(image: RgbImage) {
    for (let radius = 1; radius <= 7; radius++) {
      const patches = medians(image, radius);
      for (const sigma of [0.4, 0.5 * radius]) yield gaussianBlur8(patches, 2 * Math.ceil(3 * sigma) + 1, sigma);
    }
  },
} as const satisfies Record<string, (image: RgbImage) => Iterable<RgbImage>>;

/** One of `smoothings`. */
export type Smoothing = keyof typeof smoothings;

/** The image, smoothed until its sharpness is at most `target`, or as much as this smoothing does. */
export function smoothed(image: RgbImage, smoothing: Smoothing, target: number): RgbImage {
  let last = image;
  for (last of smoothings[smoothing](image)) if (sharpness(last) <= target) break;
  return last;
}

/**
 * The sharpness below which a share of the generated images is, interpolated between their deciles; `share` in [0, 1].
 */
export function sharpnessQuantile(share: number, deciles: readonly number[] = generatedSharpness): number {
  const at = share * (deciles.length - 1);
  const low = Math.min(Math.floor(at), deciles.length - 2);
  return deciles[low] + (at - low) * (deciles[low + 1] - deciles[low]);
}

/** Deciles of some images' sharpness, from the least to the greatest: eleven numbers. Throws without images. */
export function sharpnessDeciles(values: readonly number[]): readonly number[] {
  if (values.length === 0) throw new RangeError("sharpnessDeciles: expected at least one image, got none");
  const sorted = values.toSorted((a, b) => a - b);
  return Array.from({ length: 11 }, (_, i) => sorted[Math.round(i / 10 * (sorted.length - 1))]);
}

/** Each channel's median over the pixels at most `radius` away in x and in y. */
function medians({ width, height, data }: RgbImage, radius: number): RgbImage {
  const out = new Uint8Array(data.length), counts = new Uint16Array(256);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      for (let c = 0; c < 3; c++) {
        counts.fill(0);
        let seen = 0;
        for (let j = Math.max(0, y - radius); j <= Math.min(height - 1, y + radius); j++) {
          for (let i = Math.max(0, x - radius); i <= Math.min(width - 1, x + radius); i++, seen++) {
            counts[data[(j * width + i) * 3 + c]]++;
          }
        }
        let level = 0;
        for (let below = counts[0]; 2 * below < seen; below += counts[++level]);
        out[(y * width + x) * 3 + c] = level;
      }
    }
  }
  return { width, height, data: out };
}
