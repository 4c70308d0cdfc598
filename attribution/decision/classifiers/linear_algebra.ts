/** Cholesky factors and triangular systems in float64, for matrices of up to a few hundred rows on the host. */

/** The rows of a matrix. */
export type Matrix = readonly (readonly number[])[];

/**
 * The lower triangular L[n, n] with L L' = A, for a symmetric positive definite A[n, n]. Only the lower triangle of A
 * is read. Throws where A is not positive definite to working precision.
 */
export function cholesky(a: Matrix): number[][] {
  const factor: number[][] = [];
  for (let i = 0; i < a.length; i++) {
    const row = new Array<number>(a.length).fill(0);
    for (let j = 0; j <= i; j++) {
      const other = j === i ? row : factor[j];
      let sum = a[i][j];
      for (let k = 0; k < j; k++) sum -= row[k] * other[k];
      if (i !== j) row[j] = sum / other[j];
      else if (sum > 0) row[i] = Math.sqrt(sum);
      else throw new Error(`cholesky: expected a positive definite matrix, got pivot ${sum} in row ${i}`);
    }
    factor.push(row);
  }
  return factor;
}

/** Solves L y = b for a lower triangular L[n, n]. */
export function solveLower(factor: Matrix, b: readonly number[]): number[] {
  const y: number[] = [];
  for (let i = 0; i < b.length; i++) {
    const row = factor[i];
    let sum = b[i];
    for (let k = 0; k < i; k++) sum -= row[k] * y[k];
    y.push(sum / row[i]);
  }
  return y;
}
