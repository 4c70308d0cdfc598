// The discrete cosine transform of blocks of 8x8 pixels, as JPEG has it (ITU T.81, A.3.3).

import type { Luma } from "./luma.ts";

/** [frequency, pixel]: an orthonormal basis, row by row. */
const basis = Float64Array.from({ length: 64 }, (_, i) => {
  const frequency = i >> 3, pixel = i & 7;
  return (frequency === 0 ? Math.SQRT1_2 : 1) / 2 * Math.cos((2 * pixel + 1) * frequency * Math.PI / 16);
});

/**
 * The coefficients of the whole blocks of a grid that begins at `left` and `top` of a part of an image: by frequency,
 * row by row, a number per block. Blocks for which `skip` has a pixel other than 0 are left out.
 */
export function blockCoefficients(
  { width, height, data }: Pick<Luma, "width" | "height" | "data">,
  { left, top }: { readonly left: number; readonly top: number },
  skip?: Uint8Array,
): readonly Float64Array[] {
  const blocks: number[] = [];
  for (let y = top; y + 8 <= height; y += 8) {
    for (let x = left; x + 8 <= width; x += 8) {
      if (skip === undefined || !hasMark(skip, width, x, y)) blocks.push(y * width + x);
    }
  }
  const coefficients = Array.from({ length: 64 }, () => new Float64Array(blocks.length));
  const rows = new Float64Array(64);
  blocks.forEach((start, block) => {
    for (let y = 0; y < 8; y++) {
      for (let u = 0; u < 8; u++) {
        let sum = 0;
        for (let x = 0; x < 8; x++) sum += basis[u * 8 + x] * data[start + y * width + x];
        rows[y * 8 + u] = sum;
      }
    }
    for (let v = 0; v < 8; v++) {
      for (let u = 0; u < 8; u++) {
        let sum = 0;
        for (let y = 0; y < 8; y++) sum += basis[v * 8 + y] * rows[y * 8 + u];
        coefficients[v * 8 + u][block] = sum;
      }
    }
  });
  return coefficients;
}

function hasMark(marks: Uint8Array, width: number, left: number, top: number): boolean {
  for (let y = top; y < top + 8; y++) {
    for (let x = left; x < left + 8; x++) if (marks[y * width + x] !== 0) return true;
  }
  return false;
}
