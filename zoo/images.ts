/** Square images of one size in memory, as the zoo's training reads them, and as pixels for networks. */

/** Images with their classes. */
export interface Crops {
  readonly count: number;
  /** Width and height in pixels. */
  readonly side: number;
  /** [count, side, side, 3], RGB. */
  readonly pixels: Uint8Array;
  /** Class of each image. */
  readonly classes: Uint8Array;
  /** Identifies the data: sha256 of the pixels. */
  readonly fingerprint: string;
}

/** Crops as pixels in [0, 1], [n, side, side, 3], mirrored where wanted. */
export function cropPixels(
  { pixels, side }: Crops,
  indices: readonly number[],
  mirrored: (i: number) => boolean = () => false,
): Float32Array<ArrayBuffer> {
  const size = side * side * 3;
  const values = new Float32Array(indices.length * size);
  indices.forEach((index, i) => {
    const from = index * size, to = i * size, flip = mirrored(i);
    for (let y = 0; y < side; y++) {
      for (let x = 0; x < side; x++) {
        const source = from + (y * side + (flip ? side - 1 - x : x)) * 3, target = to + (y * side + x) * 3;
        for (let c = 0; c < 3; c++) values[target + c] = pixels[source + c] / 255;
      }
    }
  });
  return values;
}
