/** Pictures for tests of the search: noise, and noise within other pictures. */
import { applyEdits, type Edit } from "../../../attribution/images/edits/mod.ts";
import type { RgbImage } from "../../../attribution/images/image.ts";
import { uniforms } from "../../../core/tensor/mod.ts";

/** Bytes of equal probability. */
export function noise(width: number, height: number, seed: number): RgbImage {
  const values = uniforms(seed, 0, width * height * 3);
  return { width, height, data: Uint8Array.from(values, (value) => 256 * value) };
}

/** A smooth picture with no straight lines. */
export function waves(width: number, height: number): RgbImage {
  const data = Uint8Array.from({ length: width * height * 3 }, (_, i) => {
    const x = Math.floor(i / 3) % width, y = Math.floor(i / 3 / width);
    return 128 + 60 * Math.sin(x / 17 + i % 3) + 50 * Math.cos(y / 11 + x / 31);
  });
  return { width, height, data };
}

/** Smooth, and unlike `waves` at most places. */
export function inverted(width: number, height: number): RgbImage {
  return { width, height, data: waves(width, height).data.map((value) => 255 - value) };
}

/** One picture within another. */
export function pasted(picture: RgbImage, into: RgbImage, left: number, top: number): RgbImage {
  const data = into.data.slice();
  for (let y = 0; y < picture.height; y++) {
    const row = picture.data.subarray(y * picture.width * 3, (y + 1) * picture.width * 3);
    data.set(row, ((top + y) * into.width + left) * 3);
  }
  return { ...into, data };
}

/** The picture after edits. */
export async function edited(picture: RgbImage, ...edits: readonly Edit[]): Promise<RgbImage> {
  return (await applyEdits(picture, edits)).image;
}
