// Brings a subsampled component back to full resolution, one row at a time: libjpeg's "fancy" triangle filter for the
// factors 2x1, 1x2 and 2x2, plain repetition for all others. No colour conversion here.

import { UnreadableImageError } from "../image.ts";
import type { Component, Frame } from "./frame.ts";
import { samplesOf } from "./idct.ts";

/** Writes row `y` of the full-resolution component into `out` (at least width + 3 samples long). */
export type RowSource = (y: number, out: Uint8Array) => void;

/** Decodes the component's samples and returns its full-resolution rows; y in [0, frame.height). */
export function rowsOf(component: Component, frame: Frame): RowSource {
  const samples = samplesOf(component);
  const { width, height } = component;
  const stride = component.blockColumns * 8;
  const [fx, fy] = [frame.maxH / component.h, frame.maxV / component.v];
  if (!Number.isInteger(fx) || !Number.isInteger(fy)) {
    throw new UnreadableImageError("unsupported", `JPEG: fractional sampling ${fx}x${fy}`);
  }
  if (fx === 1 && fy === 1) {
    return (y, out) => out.set(samples.subarray(y * stride, y * stride + width));
  }
  const columns = new Int32Array(width); // one row of weighted sums
  // The neighbouring row on the side where the output row lies; the image's border rows stand in for those outside.
  const neighbour = (y: number) => Math.min(Math.max((y >> 1) + (y % 2 === 0 ? -1 : 1), 0), height - 1);
  const blend = (y: number) => {
    const near = (y >> 1) * stride;
    const far = neighbour(y) * stride;
    for (let x = 0; x < width; x++) columns[x] = 3 * samples[near + x] + samples[far + x];
  };
  if (fx === 1 && fy === 2) {
    return (y, out) => {
      blend(y);
      const bias = y % 2 === 0 ? 1 : 2; // alternates so that rounding does not drift
      for (let x = 0; x < width; x++) out[x] = (columns[x] + bias) >> 2;
    };
  }
  // libjpeg repeats samples instead where a row has no inner sample.
  if (fx === 2 && fy === 1 && width > 2) {
    return (y, out) => {
      for (let x = 0; x < width; x++) columns[x] = samples[y * stride + x];
      widen(columns, out, 2, 1, 2);
    };
  }
  if (fx === 2 && fy === 2 && width > 2) {
    return (y, out) => {
      blend(y);
      widen(columns, out, 4, 8, 7);
    };
  }
  return (y, out) => {
    const from = Math.floor(y / fy) * stride;
    const end = Math.min(width * fx, out.length);
    for (let x = 0; x < end; x++) out[x] = samples[from + Math.floor(x / fx)];
  };
}

/** Doubles a row: 3/4 of the nearer sample and 1/4 of the other neighbour, which at the ends is the sample itself. */
function widen(row: Int32Array, out: Uint8Array, shift: number, leftBias: number, rightBias: number): void {
  const last = row.length - 1;
  for (let x = 0; x <= last; x++) {
    const near = 3 * row[x];
    out[2 * x] = (near + row[x === 0 ? 0 : x - 1] + leftBias) >> shift;
    out[2 * x + 1] = (near + row[x === last ? last : x + 1] + rightBias) >> shift;
  }
}
