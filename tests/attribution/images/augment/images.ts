// Images for the tests of transforms, and how they are compared. Expected hashes in the tests were computed with Pillow 9.4,
// torchvision 0.14 and PyTorch 1.13 from the same pattern.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import type { FloatImage } from "../../../../attribution/images/augment/mod.ts";
import type { RgbImage } from "../../../../attribution/images/image.ts";

/** Noise-like pixels: the top byte of (i + 1) * 0x9E3779B1 for the i-th value; grey has one value per pixel. */
export function pattern(width: number, height: number, grey = false): RgbImage {
  const value = (i: number) => Math.imul(i + 1, 0x9e3779b1) >>> 24;
  const data = Uint8Array.from({ length: width * height * 3 }, (_, i) => value(grey ? Math.trunc(i / 3) : i));
  return { width, height, data };
}

/** The first 16 hexadecimal digits of the SHA-256 of the bytes. */
export function sha(data: Uint8Array | Float32Array): string {
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return createHash("sha256").update(bytes).digest("hex").slice(0, 16);
}

/** The largest difference between two images of one size. */
export function distance(a: FloatImage | RgbImage, b: FloatImage | RgbImage): number {
  assert.deepEqual([a.width, a.height, a.data.length], [b.width, b.height, b.data.length]);
  let most = 0;
  for (let i = 0; i < a.data.length; i++) most = Math.max(most, Math.abs(a.data[i] - b.data[i]));
  return most;
}

/** Same size, all values in [0, 1]. */
export function assertInRange(image: FloatImage, like: FloatImage): void {
  assert.deepEqual([image.width, image.height, image.data.length], [like.width, like.height, like.data.length]);
  assert.ok(image.data.every((value) => value >= 0 && value <= 1));
}
