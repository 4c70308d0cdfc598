/** The test images of the reference data, by their formula (tests/fixtures/golden, "Image formula"). */
import type { RgbImage } from "../../attribution/images/image.ts";

/** Image number k of width x height pixels: two plane waves and a ramp per channel. */
export function goldenImage(k: number, width: number, height: number): RgbImage {
  const data = new Uint8Array(width * height * 3);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const X = (x + 0.5) / width, Y = (y + 0.5) / height;
      for (let c = 0; c < 3; c++) {
        const a = 1 + (k + c) % 3, b = 1 + (2 * k + c) % 4, d = 3 + (3 * k + 2 * c) % 5, e = 2 + (k + 2 * c) % 5;
        const p = 0.7 * k + 2.1 * c, sign = (c + k) % 2 === 1 ? 1 : -1;
        const v = 0.5 + 0.22 * Math.sin(2 * Math.PI * (a * X + b * Y) + p) +
          0.14 * Math.sin(2 * Math.PI * (d * X - e * Y) + 1.3 * p) + 0.1 * sign * (X + Y - 1);
        data[(y * width + x) * 3 + c] = Math.floor(Math.min(Math.max(v, 0), 1) * 255 + 0.5);
      }
    }
  }
  return { width, height, data };
}
