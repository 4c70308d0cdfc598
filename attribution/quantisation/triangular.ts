/**
 * Triangular factors and inverses of matrices with about a hundred rows, on the host, row-major in float64.
 * search_tables.ts makes large factors from such blocks on the device.
 */
import type { Matrix } from "./symmetric.ts";

/**
 * The upper triangular V with V V' = matrix[n, n], a Cholesky decomposition that starts with the last column. It reads
 * the upper triangle. Throws if the matrix is not positive definite.
 */
export function upperFactor(matrix: ArrayLike<number>, n: number): Matrix {
  const v = new Float64Array(n * n);
  for (let i = n - 1; i >= 0; i--) {
    for (let j = i; j >= 0; j--) {
      let rest = matrix[j * n + i];
      for (let k = i + 1; k < n; k++) rest -= v[i * n + k] * v[j * n + k];
      if (i === j && !(rest > 0)) {
        throw new Error(`upperFactor: the matrix is not positive definite: pivot ${rest} in row ${i}`);
      }
      v[j * n + i] = i === j ? Math.sqrt(rest) : rest / v[i * n + i];
    }
  }
  return v;
}

/** The inverse of a lower triangular l[n, n]. */
export function lowerInverse(l: ArrayLike<number>, n: number): Matrix {
  const out = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    out[i * n + i] = 1;
    for (let k = 0; k < i; k++) {
      const factor = l[i * n + k];
      for (let j = 0; j <= k; j++) out[i * n + j] -= factor * out[k * n + j];
    }
    for (let j = 0; j <= i; j++) out[i * n + j] /= l[i * n + i];
  }
  return out;
}

/** The transpose of a[n, n]. */
export function transposed(a: ArrayLike<number>, n: number): Matrix {
  return Float64Array.from({ length: n * n }, (_, i) => a[(i % n) * n + Math.floor(i / n)]);
}

/** The block of `size` rows and columns of a[n, n] that starts at row and column `at`. */
export function diagonalBlock(a: ArrayLike<number>, n: number, at: number, size: number): Matrix {
  return Float64Array.from({ length: size * size }, (_, i) => {
    return a[(at + Math.floor(i / size)) * n + at + i % size];
  });
}
