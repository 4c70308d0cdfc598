// The rhythm of resampling: interpolated pixels follow from their neighbours better than others, with a period that tells
// the factor (Popescu and Farid, Exposing digital forgeries by detecting traces of resampling, 2005; Kirchner, Fast and
// reliable resampling detection by spectral analysis of fixed linear predictor residue, 2008).

import { linesOf, predictionErrors } from "./linear_prediction.ts";
import type { Luma } from "./luma.ts";

/** Frequencies of the rhythm, in cycles per pixel: k / resolution. Lower ones are lost among the image's content. */
const resolution = 256, lowest = 20, highest = 127;

/** A peak is compared with the median of its neighbours at these distances, in steps of the frequency. */
const nearest = 5, farthest = 26;

/**
 * At multiples of 1/8 decoders of generators leave a rhythm, so that a peak within `around` steps must be higher. After
 * compression in blocks of 8 or 4 pixels nothing is told within `aroundCoded` steps.
 */
const eighth = resolution / 8, around = 2, aroundCoded = 6;

/** The least height of a peak, in medians of its neighbours. Of 380 images that were not resampled two are higher. */
export const leastPeak = 50, leastPeakAtEighth = 80;

/** A rhythm in the prediction errors. */
export interface Rhythm {
  /** Cycles per pixel, at most 0.5. */
  readonly frequency: number;
  /** Height of the peak over its neighbours, in units of the least height that counts. */
  readonly height: number;
}

/**
 * The strongest rhythm along rows and columns together. `coded` says whether the image was compressed as JPEG or WebP.
 * Undefined for parts of fewer than 32 pixels.
 */
export function strongestRhythm(luma: Luma, coded: boolean): Rhythm | undefined {
  if (Math.min(luma.width, luma.height) < 32) return undefined;
  const power = new Float64Array(resolution / 2 + 1);
  for (const lines of linesOf(luma)) addPower(power, predictionErrors(lines));
  let best: Rhythm | undefined;
  for (let k = lowest; k <= highest; k++) {
    const toEighth = Math.abs(k - eighth * Math.round(k / eighth));
    if (coded && toEighth <= aroundCoded) continue;
    const neighbours: number[] = [];
    for (let distance = nearest; distance <= farthest; distance++) {
      for (const other of [k - distance, k + distance]) {
        if (other >= lowest - 8 && other <= highest) neighbours.push(power[other]);
      }
    }
    neighbours.sort((a, b) => a - b);
    const median = neighbours[neighbours.length >> 1];
    const height = power[k] / (median + 1e-12) / (toEighth <= around ? leastPeakAtEighth : leastPeak);
    if (best === undefined || height > best.height) best = { frequency: k / resolution, height };
  }
  return best;
}

/** Adds the power spectrum of a sequence without its slow part. */
function addPower(power: Float64Array, values: Float64Array): void {
  const n = values.length, half = 6;
  const windowed = values.map((value, i) => {
    const from = Math.max(0, i - half), to = Math.min(n, i + half + 1);
    let sum = 0;
    for (let j = from; j < to; j++) sum += values[j];
    return (value - sum / (to - from)) * (0.5 - 0.5 * Math.cos(2 * Math.PI * (i + 0.5) / n));
  });
  for (let k = lowest - 8; k < power.length; k++) {
    let re = 0, im = 0;
    for (let i = 0; i < n; i++) {
      const angle = 2 * Math.PI * ((k * i) % resolution) / resolution;
      re += windowed[i] * Math.cos(angle);
      im += windowed[i] * Math.sin(angle);
    }
    power[k] += (re * re + im * im) / n;
  }
}
