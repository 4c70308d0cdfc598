// Traces of resampling: a rhythm in which pixels follow from their neighbours, or no fine detail at all.

import type { ImageFacts } from "./facts.ts";
import type { Luma } from "./luma.ts";
import { strongestRhythm } from "./rhythm.ts";

/**
 * Below this bandwidth, in cycles per pixel, an image has no fine detail: it was enlarged, or much blurred. Images that
 * were not have 0.1 at least (of 380 images; the smoothest are generated ones, photographs have 0.27).
 */
export const leastBandwidth = 0.095;

/** How near the size before the enlargement must be to a size that networks give, as a share of it. */
const nativeTolerance = 0.03;

/** What the factor is told from, beside the rhythm. */
export interface Circumstances {
  /** See bandwidthOf(). */
  readonly bandwidth: number | undefined;
  /** Whether the image was compressed as JPEG or WebP. */
  readonly coded: boolean;
  /** The shorter side of the image, in pixels. */
  readonly side: number;
  /** The image sizes that the networks take. */
  readonly nativeSizes: readonly number[];
}

/**
 * Traces of resampling in a part of an image; undefined without any. Enlargement by exactly 2 leaves no rhythm that a
 * generator's decoder does not leave as well, so only missing detail tells it.
 */
export function resamplingOf(luma: Luma, circumstances: Circumstances): ImageFacts["resampling"] {
  const rhythm = strongestRhythm(luma, circumstances.coded);
  if (rhythm !== undefined && rhythm.height >= 1) {
    const factor = factorOf(rhythm.frequency, circumstances);
    return { factor, strength: Math.min(1, rhythm.height / 2), kind: "rhythm" };
  }
  const { bandwidth } = circumstances;
  if (bandwidth === undefined || bandwidth >= leastBandwidth) return undefined;
  return { factor: null, strength: Math.min(1, 1.5 - bandwidth / leastBandwidth), kind: "no-detail" };
}

/**
 * The factor of an enlargement with a rhythm of this frequency: 1 / frequency if it is 2 or more, else 1 / (1 -
 * frequency). Null where neither the size nor the bandwidth tells which; the bandwidth of an enlarged image is at most
 * 0.5 / factor.
 */
function factorOf(frequency: number, { bandwidth, side, nativeSizes }: Circumstances): number | null {
  const large = 1 / frequency, small = 1 / (1 - frequency);
  const isNative = (factor: number) =>
    nativeSizes.some((size) => Math.abs(side / factor - size) <= nativeTolerance * size);
  if (isNative(large) !== isNative(small)) return isNative(large) ? large : small;
  if (bandwidth === undefined) return null;
  if (bandwidth < 0.27 * frequency) return large;
  return bandwidth > 0.62 * frequency ? small : null;
}
