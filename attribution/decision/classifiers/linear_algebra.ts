/**
 * The little linear algebra that fitting needs: Cholesky factors of small symmetric matrices and solving with them, float64.
 * It is for tens to a few hundred unknowns on the host; tensors and devices are core/tensor's business.
 */

/** Rows of a matrix. */
export type Matrix = readonly (readonly number[])[];

/**
 * Lower L with L L' = A, of a symmetric positive definite A[n, n]; only its lower triangle is read. Throws where A is not
 * positive definite to working precision.
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

/** y with L y = b, L lower [n, n]. */
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
