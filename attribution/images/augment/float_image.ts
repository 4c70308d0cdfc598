// An image as floating-point numbers on the host. Transforms run on it before the image is uploaded as a tensor.

import type { RgbImage } from "../image.ts";

/** An RGB image in float32. */
export interface FloatImage {
  /** In pixels. */
  readonly width: number;
  /** In pixels. */
  readonly height: number;
  /** [height, width, 3], row-major, in [0, 1] unless a function says otherwise. */
  readonly data: Float32Array;
}

/** Bytes to [0, 1], float32(byte / 255), as torchvision's `to_tensor`. */
export function toFloatImage({ width, height, data }: RgbImage): FloatImage {
  const out = new Float32Array(data.length);
  for (let i = 0; i < out.length; i++) out[i] = data[i] / 255;
  return { width, height, data: out };
}

/** [0, 1] to bytes, clamped and truncated, as torchvision's `to_pil_image(x.clamp(0, 1))`, `(x * 255).byte()`. */
export function toRgbImage({ width, height, data }: FloatImage): RgbImage {
  const out = new Uint8Array(data.length);
  for (let i = 0; i < out.length; i++) out[i] = Math.fround(clamp01(data[i]) * 255);
  return { width, height, data: out };
}

/** min(max(x, 0), 1) */
export function clamp01(x: number): number {
  return x < 0 ? 0 : x > 1 ? 1 : x;
}
