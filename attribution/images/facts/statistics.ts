// Number of colours, contrast and noise of an image.

import type { RgbImage } from "../image.ts";
import type { Luma } from "./luma.ts";

/** Colours are counted up to this number. */
export const maxColours = 65536;

/** Rows of a larger image are skipped evenly, so that about so many pixels are looked at. */
const maxCounted = 2 ** 22;

/** Number of different colours, up to 65536. In images of more than 4 Mi pixels, those of evenly chosen rows. */
export function countColours(image: RgbImage): number {
  const seen = new Uint8Array(2 ** 21); // a bit per colour
  let colours = 0;
  for (const row of sampledRows(image)) {
    for (let at = 0; at < row.length; at += 3) {
      const colour = row[at] | (row[at + 1] << 8) | (row[at + 2] << 16);
      const bit = 1 << (colour & 7);
      if ((seen[colour >> 3] & bit) !== 0) continue;
      seen[colour >> 3] |= bit;
      if (++colours === maxColours) return colours;
    }
  }
  return colours;
}

/** The bytes of rows: of all, or in images of more than 4 Mi pixels of evenly chosen ones. */
export function* sampledRows({ width, height, data }: RgbImage): Generator<Uint8Array> {
  const step = Math.max(1, Math.ceil(width * height / maxCounted));
  for (let y = 0; y < height; y += step) yield data.subarray(y * width * 3, (y + 1) * width * 3);
}

/** Standard deviation of luma over all tiles, 0 to 127.5. */
export function contrastOf(tiles: readonly Luma[]): number {
  let count = 0, sum = 0, squares = 0;
  for (const { data } of tiles) {
    count += data.length;
    for (const value of data) sum += value;
  }
  const mean = sum / count;
  for (const { data } of tiles) for (const value of data) squares += (value - mean) ** 2;
  return Math.sqrt(squares / count);
}

/** Side of the blocks whose noise is compared, in pixels. */
const blockSide = 8;
/** The share of the blocks that counts as the smoothest parts. */
const smoothShare = 0.1;
/** Blocks with more values than this share at 0 or 255 are left out: clipping hides noise. */
const clippedShare = 0.1;

/**
 * Standard deviation of noise, in levels: of the smoothest blocks, by a mask that planes and edges along the axes do
 * not pass (J. Immerkaer, Fast noise variance estimation, 1996). Texture counts as noise where an image has no smooth
 * parts.
 */
export function noiseOf(tiles: readonly Luma[]): number {
  const variances = tiles.flatMap(blockVariances).sort((a, b) => a - b);
  if (variances.length === 0) return 0;
  const count = Math.max(1, Math.round(smoothShare * variances.length));
  return Math.sqrt(variances.slice(0, count).reduce((a, b) => a + b) / count);
}

function blockVariances({ width, height, data }: Luma): number[] {
  const variances: number[] = [];
  for (let top = 1; top + blockSide < height; top += blockSide) {
    for (let left = 1; left + blockSide < width; left += blockSide) {
      let sum = 0, clipped = 0;
      for (let y = top; y < top + blockSide; y++) {
        for (let x = left; x < left + blockSide; x++) {
          const at = y * width + x, up = at - width, down = at + width;
          const value = data[up - 1] - 2 * data[up] + data[up + 1] - 2 * data[at - 1] + 4 * data[at] -
            2 * data[at + 1] + data[down - 1] - 2 * data[down] + data[down + 1];
          sum += value * value;
          if (data[at] < 0.5 || data[at] > 254.5) clipped++;
        }
      }
      // The squares of the mask's weights add up to 36.
      if (clipped <= clippedShare * blockSide ** 2) variances.push(sum / (36 * blockSide ** 2));
    }
  }
  return variances;
}
