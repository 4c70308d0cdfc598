/** Factors and solutions of small systems. */
import assert from "node:assert/strict";
import { cholesky, solveLower } from "../../../../attribution/decision/classifiers/linear_algebra.ts";

Deno.test("cholesky() factors a symmetric matrix, and refuses one that is not positive definite", () => {
  assert.deepEqual(cholesky([[4, 2, -2], [2, 5, 1], [-2, 1, 6]]), [[2, 0, 0], [1, 2, 0], [-1, 1, 2]]);
  assert.throws(() => cholesky([[1, 2], [2, 1]]), /expected a positive definite matrix, got pivot -3 in row 1/);
});

Deno.test("solveLower() solves by a lower triangle, whether or not rows have the zeros above it", () => {
  // L [1, 1, 3] = [2, 3, 6].
  assert.deepEqual(solveLower([[2, 0, 0], [1, 2, 0], [-1, 1, 2]], [2, 3, 6]), [1, 1, 3]);
  assert.deepEqual(solveLower([[2], [1, 2], [-1, 1, 2]], [2, 3, 6]), [1, 1, 3]);
});
