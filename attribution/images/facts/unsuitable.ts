// Whether anything can be measured of an image.

import type { RgbImage } from "../image.ts";
import type { ImageFacts, Unsuitable } from "./facts.ts";

/**
 * The least shorter side, as a share of the smallest size that the networks take. A frame of a few pixels may be
 * cropped off (58 of 64 pixels); an image that must be enlarged by more than 4/3 has lost what tokens would show.
 */
export const leastSide = 3 / 4;

/**
 * The least standard deviation of luma, in levels. Flat images stay below it after JPEG compression or noise of 2
 * levels. All of 220 generated images and photographs of examples/Dataset have more than 5.
 */
export const leastContrast = 3;

/**
 * The longer side is at most so many times the shorter one. Networks see the central square: of a longer image less
 * than a quarter. A canvas three times as wide as the picture stays below.
 */
export const mostElongation = 4;

/** Why nothing can be measured of an image; undefined where it can. `nativeSizes` are those that the networks take. */
export function unsuitableFor(
  { width, height }: Pick<RgbImage, "width" | "height">,
  { contrast, picture }: Pick<ImageFacts, "contrast" | "picture">,
  nativeSizes: readonly number[],
): Unsuitable | undefined {
  if (Math.min(width, height) < leastSide * Math.min(...nativeSizes)) return "too-small";
  if (contrast < leastContrast) return "no-texture";
  if (isElongated(width, height) && (picture === undefined || isElongated(picture.width, picture.height))) {
    return "too-elongated";
  }
  return undefined;
}

function isElongated(width: number, height: number): boolean {
  return Math.max(width, height) > mostElongation * Math.min(width, height);
}
