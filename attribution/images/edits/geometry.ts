// Edits that move pixels. None of them computes new colours.

import type { RgbImage } from "../image.ts";
import type { CanvasEdit, CropEdit, EditOf } from "./edit.ts";

/** Left to right. */
export function mirror(image: RgbImage): RgbImage {
  const { width, height } = image;
  return rearrange(image, width, height, (x, y) => y * width + (width - 1 - x));
}

/** Clockwise. By 90 and 270 degrees, width and height change places. */
export function turn(image: RgbImage, { degrees }: EditOf<"turn">): RgbImage {
  const { width, height } = image;
  if (degrees === 180) return rearrange(image, width, height, (x, y) => (height - 1 - y) * width + (width - 1 - x));
  return degrees === 90
    ? rearrange(image, height, width, (x, y) => (height - 1 - x) * width + y)
    : rearrange(image, height, width, (x, y) => x * width + (width - 1 - y));
}

/** Throws a RangeError if nothing is left. */
export function crop(image: RgbImage, { left, top, right, bottom }: CropEdit): RgbImage {
  const width = image.width - left - right, height = image.height - top - bottom;
  if (width < 1 || height < 1) {
    throw new RangeError(
      `crop: expected an image larger than ${left + right}x${top + bottom}, got ${image.width}x${image.height}`,
    );
  }
  return rearrange(image, width, height, (x, y) => (top + y) * image.width + left + x);
}

/** Moves to the right and down; the border's pixels are repeated. */
export function shift(image: RgbImage, { x: right, y: down }: EditOf<"shift">): RgbImage {
  const { width, height } = image;
  const clip = (i: number, n: number) => Math.min(n - 1, Math.max(0, i));
  return rearrange(image, width, height, (x, y) => clip(y - down, height) * width + clip(x - right, width));
}

/** Pillow's `Image.resize` with the filter `NEAREST`. */
export function resizeNearest(image: RgbImage, width: number, height: number): RgbImage {
  const columns = Int32Array.from({ length: width }, (_, x) => Math.trunc((x + 0.5) * image.width / width));
  const rows = Int32Array.from({ length: height }, (_, y) => Math.trunc((y + 0.5) * image.height / height));
  return rearrange(image, width, height, (x, y) => rows[y] * image.width + columns[x]);
}

/** Pastes into a picture of one colour. */
export function canvas(image: RgbImage, edit: CanvasEdit): RgbImage {
  const { width, height } = "times" in edit
    ? { width: Math.round(image.width * edit.times), height: Math.round(image.height * edit.times) }
    : edit;
  const { colour = "#ffffff" } = edit;
  const left = edit.left ?? Math.trunc((width - image.width) / 2);
  const top = edit.top ?? Math.trunc((height - image.height) / 2);
  const rgb = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  const data = new Uint8Array(width * height * 3).map((_, i) => rgb[i % 3]);
  const from = Math.max(0, left), to = Math.min(width, left + image.width);
  for (let y = Math.max(0, top); to > from && y < Math.min(height, top + image.height); y++) {
    const start = ((y - top) * image.width + from - left) * 3;
    data.set(image.data.subarray(start, start + (to - from) * 3), (y * width + from) * 3);
  }
  return { width, height, data };
}

/** `from` gives the source of each pixel as y * image.width + x. */
function rearrange(
  { data }: RgbImage,
  width: number,
  height: number,
  from: (x: number, y: number) => number,
): RgbImage {
  const out = new Uint8Array(width * height * 3);
  for (let y = 0, to = 0; y < height; y++) {
    for (let x = 0; x < width; x++, to += 3) {
      const at = from(x, y) * 3;
      out[to] = data[at];
      out[to + 1] = data[at + 1];
      out[to + 2] = data[at + 2];
    }
  }
  return { width, height, data: out };
}
