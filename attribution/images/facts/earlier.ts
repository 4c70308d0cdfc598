// An earlier compression with loss of what is now stored without loss, or again as JPEG.

import type { RgbImage } from "../image.ts";
import { countOnLattice, jpegConversion, webpConversion } from "./colour_lattice.ts";
import { blockCoefficients } from "./dct.ts";
import type { ImageFacts } from "./facts.ts";
import { nearestQuality } from "./jpeg_tables.ts";
import { type Rectangle, tilesOf } from "./luma.ts";
import { fitQuality, type GapFit } from "./quantisation_gaps.ts";

/** Fewer different colours that tell anything do not tell a conversion from chance. */
export const leastColours = 32;

/**
 * The least share of colours that the decoder can return. All of them are such after the compression; without it about
 * a quarter (JPEG) or a sixth (WebP).
 */
export const leastShare = 0.95;

/** The least support of a quality, in nats, for which a table is told where the colours say that it was a JPEG. */
export const leastSupport = 15;

/** As `leastSupport`, where colours say nothing: in grey images. */
export const leastSoleSupport = 100;

/** How much more support an earlier compression of a JPEG must have than the last one alone, in nats. */
export const leastSupportBefore = 150;

/** On another grid, a quality has at most this share of the support: else something other than blocks left the gaps. */
export const mostShifted = 0.25;

/** Standard deviation of rounding to whole levels. */
const rounding = Math.sqrt(1 / 12);

/** Tiles are cut to this side for the histograms of coefficients, in pixels. */
const largestSide = 128;

/** What was found of earlier compressions. */
export type Earlier = Pick<ImageFacts, "earlierJpeg" | "earlierWebp">;

/** Earlier compressions of an image that is stored without loss, or that was given as pixels. */
export function earlierCompression(image: RgbImage): Earlier {
  const tiles = tilesOf(image);
  const webp = countOnLattice(image, tiles, webpConversion);
  if (webp.colours >= leastColours && webp.share >= leastShare) {
    return { earlierWebp: { strength: strengthOf(webp.share, webpConversion.density) } };
  }
  const jpeg = countOnLattice(image, tiles, jpegConversion);
  if (jpeg.colours >= leastColours) {
    if (jpeg.share < leastShare) return {};
    const strength = strengthOf(jpeg.share, jpegConversion.density);
    const fit = fitGrid(image, tiles[0]);
    if (fit.support < leastSupport) return { earlierJpeg: { quality: null, strength } };
    return { earlierJpeg: { quality: fit.quality, strength, grid: fit.grid } };
  }
  if (!isGrey(image, tiles[0])) return {};
  const plane = decodedLuma(image, tiles[0]);
  const fit = fitAt(plane, { left: 0, top: 0 });
  if (fit.support < leastSoleSupport || !isOfGrid(plane, fit)) return {};
  return { earlierJpeg: { quality: fit.quality, strength: 1, grid: fit.grid } };
}

/**
 * An earlier compression of an image that is stored as JPEG, with luma's `steps`, row by row. It is found where its
 * steps were larger than the last ones and the picture was not moved between.
 */
export function compressionBeforeLast(image: RgbImage, steps: ArrayLike<number>): Earlier {
  const plane = decodedLuma(image, tilesOf(image)[0]), grid = { left: 0, top: 0 };
  // The last compression moved each coefficient by up to half of its step.
  const deviations = Float64Array.from({ length: 64 }, (_, i) => rounding * Math.hypot(1, steps[i]));
  const coefficients = blockCoefficients(plane, grid, plane.unknown), last = nearestQuality(steps);
  // The last compression leaves gaps, too, and those of qualities a little below are much like them.
  const own = fitQuality(coefficients, deviations, [last]).support;
  const { quality, support } = fitQuality(coefficients, deviations, allQualities.slice(0, Math.max(0, last - 3)));
  return support - own < leastSupportBefore ? {} : { earlierJpeg: { quality, strength: 1, grid } };
}

function strengthOf(share: number, density: number): number {
  return (share - density) / (1 - density);
}

/** Where a grid of blocks begins, 0 to 7 pixels from the picture's left and top. */
interface Grid {
  readonly left: number;
  readonly top: number;
}

interface GridFit extends GapFit {
  readonly grid: Grid;
}

const allQualities = Array.from({ length: 98 }, (_, i) => i + 1);

function fitAt(plane: DecodedLuma, grid: Grid): GridFit {
  const coefficients = blockCoefficients(plane, grid, plane.unknown);
  return { ...fitQuality(coefficients, new Float64Array(64).fill(rounding), allQualities), grid };
}

/** The likeliest quality on the grid that begins at the picture's corner, and where that fails on the likeliest other. */
function fitGrid(image: RgbImage, tile: Rectangle): GridFit {
  const plane = decodedLuma(image, tile);
  const aligned = fitAt(plane, { left: 0, top: 0 });
  if (aligned.support >= leastSupport && isOfGrid(plane, aligned)) return aligned;
  const other = fitAt(plane, emptiestGrid(plane));
  return other.support >= leastSupport && isOfGrid(plane, other) ? other : { ...aligned, support: 0 };
}

function isOfGrid(plane: DecodedLuma, { grid: { left, top }, quality, support }: GridFit): boolean {
  const shifted = blockCoefficients(plane, { left: (left + 4) % 8, top: (top + 4) % 8 }, plane.unknown);
  return fitQuality(shifted, new Float64Array(64).fill(rounding), [quality]).support <= mostShifted * support;
}

/** The grid on which the most coefficients of high frequencies are 0, but for rounding. */
function emptiestGrid(plane: DecodedLuma): Grid {
  let best = { left: 0, top: 0 }, most = -1;
  for (let top = 0; top < 8; top++) {
    for (let left = 0; left < 8; left++) {
      const coefficients = blockCoefficients(plane, { left, top }, plane.unknown);
      let zeros = 0, all = 0;
      for (let i = 0; i < 64; i++) {
        if ((i >> 3) + (i & 7) < 5) continue;
        all += coefficients[i].length;
        for (const value of coefficients[i]) if (Math.abs(value) < 3 * rounding) zeros++;
      }
      if (zeros / all > most) [best, most] = [{ left, top }, zeros / all];
    }
  }
  return best;
}

interface DecodedLuma {
  readonly width: number;
  readonly height: number;
  readonly data: Float32Array;
  /** 1 for pixels whose luma the decoder clipped. */
  readonly unknown: Uint8Array;
}

/** The bytes of luma that a JPEG decoder had before it made RGB of them. */
function decodedLuma(image: RgbImage, { left, top, width, height }: Rectangle): DecodedLuma {
  const plane = { width: Math.min(width, largestSide), height: Math.min(height, largestSide) };
  const data = new Float32Array(plane.width * plane.height), unknown = new Uint8Array(data.length);
  for (let y = 0, to = 0; y < plane.height; y++) {
    for (let x = 0, at = ((top + y) * image.width + left) * 3; x < plane.width; x++, at += 3, to++) {
      const red = image.data[at], green = image.data[at + 1], blue = image.data[at + 2];
      const luma = jpegConversion.luma(red, green, blue);
      data[to] = luma >= 0 ? luma : 0.299 * red + 0.587 * green + 0.114 * blue;
      const isClipped = (value: number) => value === 0 || value === 255;
      unknown[to] = Number(luma < 0 || isClipped(red) || isClipped(green) || isClipped(blue));
    }
  }
  return { ...plane, data, unknown };
}

function isGrey(image: RgbImage, { left, top, width, height }: Rectangle): boolean {
  for (let y = top; y < top + height; y++) {
    for (let x = left, at = (y * image.width + left) * 3; x < left + width; x++, at += 3) {
      if (image.data[at] !== image.data[at + 1] || image.data[at] !== image.data[at + 2]) return false;
    }
  }
  return true;
}
