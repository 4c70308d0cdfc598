// The parts of an image that the facts are computed from: all of a small one, some tiles of a large one.

import type { RgbImage } from "../image.ts";

/** Luma of a part of an image. */
export interface Luma {
  readonly width: number;
  readonly height: number;
  /** [height, width], 0 to 255. */
  readonly data: Float32Array;
  /** Of the part in the image, multiples of 16 pixels. */
  readonly left: number;
  readonly top: number;
}

/** Side of a tile, in pixels. An image of up to twice that on both sides is one tile. */
export const tileSide = 256;

/** The whole image if it is small; else the centre and the centres of its quarters. They may overlap. */
export function lumaTiles(image: RgbImage): readonly Luma[] {
  return tilesOf(image).map((tile) => lumaOf(image, tile));
}

/** A rectangle in an image. */
export interface Rectangle {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

/** The rectangles of lumaTiles(). */
export function tilesOf({ width, height }: Pick<RgbImage, "width" | "height">): readonly Rectangle[] {
  if (width <= 2 * tileSide && height <= 2 * tileSide) return [{ left: 0, top: 0, width, height }];
  const centres = [[0.5, 0.5], [0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]];
  const start = (side: number, at: number) => Math.max(0, Math.round((side * at - tileSide / 2) / 16)) * 16;
  return centres.map(([x, y]) => {
    const left = start(width, x), top = start(height, y);
    return { left, top, width: Math.min(tileSide, width - left), height: Math.min(tileSide, height - top) };
  });
}

/** Luma 0.299 R + 0.587 G + 0.114 B of a rectangle. */
export function lumaOf({ width: stride, data }: RgbImage, { left, top, width, height }: Rectangle): Luma {
  const luma = new Float32Array(width * height);
  for (let y = 0, to = 0; y < height; y++) {
    for (let x = 0, at = ((top + y) * stride + left) * 3; x < width; x++, at += 3) {
      luma[to++] = 0.299 * data[at] + 0.587 * data[at + 1] + 0.114 * data[at + 2];
    }
  }
  return { width, height, data: luma, left, top };
}
