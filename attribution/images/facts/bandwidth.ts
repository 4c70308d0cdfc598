// How fine the detail of an image is.

import { linesOf } from "./linear_prediction.ts";
import type { Luma } from "./luma.ts";

/** Samples of a segment whose spectrum is taken. */
const segment = 64;
const [cosines, sines] = [Math.cos, Math.sin].map((wave) =>
  Float64Array.from({ length: segment * segment / 2 }, (_, at) => {
    const i = at % segment, band = Math.floor(at / segment);
    return (0.5 - 0.5 * Math.cos(2 * Math.PI * (i + 0.5) / segment)) * wave(2 * Math.PI * (band + 0.5) * i / segment);
  })
);

/** The share of the detail that `bandwidthOf` counts. */
const detailShare = 0.95;

/** Power of luma's rounding to bytes per band, and as much again: it is no detail. */
const leastFloor = 0.08;

/**
 * Noise, also that of a JPEG's quantisation, has at most twice the power of the highest quarter of the bands. Where
 * that is more than 1 squared level, it may be detail.
 */
const floorShare = 2, mostFloor = 1;

/**
 * The frequency, in cycles per pixel up to 0.5, below which 95 % of the detail lies: of the energy of differences
 * between neighbours, along rows and columns. Undefined for parts of fewer than 64 pixels, and for flat ones.
 */
export function bandwidthOf(luma: Luma): number | undefined {
  const bands = segment / 2, power = new Float64Array(bands), values = new Float64Array(segment);
  let segments = 0;
  for (const { data, count, length, step, stride } of linesOf(luma)) {
    for (let line = 0; line < count; line += 2) {
      for (let start = 0; start + segment <= length; start += segment) {
        let mean = 0;
        for (let i = 0; i < segment; i++) mean += values[i] = data[line * stride + (start + i) * step];
        mean /= segment;
        segments++;
        for (let band = 0; band < bands; band++) {
          let re = 0, im = 0;
          for (let i = 0, at = band * segment; i < segment; i++, at++) {
            re += cosines[at] * (values[i] - mean);
            im += sines[at] * (values[i] - mean);
          }
          power[band] += (re * re + im * im) / (0.375 * segment);
        }
      }
    }
  }
  const highest = power.slice(3 * bands / 4).sort();
  const noise = floorShare * highest[highest.length >> 1] / segments;
  const floor = Math.min(mostFloor, Math.max(leastFloor, noise));
  const detail = power.map((sum, band) => Math.max(0, sum / segments - floor) * (band + 0.5) ** 2);
  const total = detail.reduce((a, b) => a + b, 0);
  if (!(total > 0)) return undefined;
  let sum = 0, band = 0;
  while (sum + detail[band] < detailShare * total) sum += detail[band++];
  return (band + (detailShare * total - sum) / detail[band]) / segment;
}
