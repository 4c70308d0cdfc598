/** Labelled rows of which the best possible classifier is known. */
import { normals } from "../../../core/tensor/mod.ts";

/** Three groups of normal rows in five columns, of which the last is constant. */
export function groups(n: number, seed: number): { rows: number[][]; y: number[] } {
  const noise = normals(seed, 0, 4 * n);
  const y = Array.from({ length: n }, (_, i) => i % 3);
  const rows = y.map((k, i) => {
    const [a, b, c, d] = noise.subarray(4 * i, 4 * i + 4);
    return [a + (k === 0 ? 1.5 : 0), 100 * (b + (k === 1 ? 1.5 : 0)), 1e-3 * c, d, 42];
  });
  return { rows, y };
}
