/**
 * Small symmetric matrices on the host, such as covariances of codes with a few dozen rows: eigenvalues, and functions
 * of matrices. Everything is row-major in float64.
 */

/** A square matrix, row-major. */
export type Matrix = Float64Array<ArrayBuffer>;

/** The eigendecomposition of a symmetric matrix. */
export interface Eigen {
  /** Eigenvalues, in no particular order. */
  readonly values: Float64Array;
  /** Eigenvectors as columns, in the order of the values. */
  readonly vectors: Matrix;
}

/** The eigendecomposition of a symmetric matrix[n, n], by cyclic Jacobi rotations. */
export function eigen(matrix: ArrayLike<number>, n: number): Eigen {
  const a = Float64Array.from(matrix), v = identity(n);
  for (let round = 0; round < 60; round++) {
    let off = 0, all = 0;
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < n; j++) all += a[i * n + j] ** 2, off += i === j ? 0 : a[i * n + j] ** 2;
    }
    if (off <= 1e-24 * all) break;
    for (let p = 0; p < n; p++) for (let q = p + 1; q < n; q++) rotate(a, v, n, p, q);
  }
  return { values: Float64Array.from({ length: n }, (_, i) => a[i * n + i]), vectors: v };
}

/** Rotates rows and columns p and q such that a[p, q] becomes 0, and the eigenvectors v with them. */
function rotate(a: Matrix, v: Matrix, n: number, p: number, q: number): void {
  const apq = a[p * n + q];
  if (apq === 0) return;
  const theta = (a[q * n + q] - a[p * n + p]) / (2 * apq);
  const t = (theta >= 0 ? 1 : -1) / (Math.abs(theta) + Math.sqrt(theta * theta + 1));
  const c = 1 / Math.sqrt(t * t + 1), s = t * c;
  for (let k = 0; k < n; k++) {
    const kp = a[k * n + p], kq = a[k * n + q];
    a[k * n + p] = c * kp - s * kq;
    a[k * n + q] = s * kp + c * kq;
    const vp = v[k * n + p], vq = v[k * n + q];
    v[k * n + p] = c * vp - s * vq;
    v[k * n + q] = s * vp + c * vq;
  }
  for (let k = 0; k < n; k++) {
    const pk = a[p * n + k], qk = a[q * n + k];
    a[p * n + k] = c * pk - s * qk;
    a[q * n + k] = s * pk + c * qk;
  }
}

/** The function f of a matrix: V f(values) V'. */
export function applyTo({ values, vectors }: Eigen, f: (value: number) => number): Matrix {
  const n = values.length;
  const mapped = values.map(f);
  const out = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = 0;
      for (let k = 0; k < n; k++) sum += vectors[i * n + k] * mapped[k] * vectors[j * n + k];
      out[i * n + j] = out[j * n + i] = sum;
    }
  }
  return out;
}

/** The identity matrix [n, n]. */
export function identity(n: number): Matrix {
  const out = new Float64Array(n * n);
  for (let i = 0; i < n; i++) out[i * n + i] = 1;
  return out;
}

/** The product of a[n, n] and b[n, n]. */
export function multiply(a: ArrayLike<number>, b: ArrayLike<number>, n: number): Matrix {
  const out = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let k = 0; k < n; k++) {
      const factor = a[i * n + k];
      for (let j = 0; j < n; j++) out[i * n + j] += factor * b[k * n + j];
    }
  }
  return out;
}

/** (a + a') / 2 for a[n, n]. */
export function symmetrised(a: ArrayLike<number>, n: number): Matrix {
  const out = new Float64Array(n * n);
  for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) out[i * n + j] = (a[i * n + j] + a[j * n + i]) / 2;
  return out;
}

/** The sum of the diagonal of a[n, n]. */
export function trace(a: ArrayLike<number>, n: number): number {
  let sum = 0;
  for (let i = 0; i < n; i++) sum += a[i * n + i];
  return sum;
}
