// How well each pixel of a line follows from its neighbours, by its position in the line. Interpolated pixels follow
// better than others, and which ones are interpolated repeats along the line.

import type { Luma } from "./luma.ts";

/** Distances of the neighbours that predict a pixel. */
const taps = [-3, -2, -1, 1, 2, 3];
const reach = 3;
/** The neighbour from which the others are subtracted, so that weights add up to 1. */
const base = 2;
/** Errors below this many levels are rounding. */
const floor = 0.15;
/** Keeps the weights small in flat images, in squared levels per pixel. */
const ridge = 0.05;

/** The lines of an image along an axis. */
export interface Lines {
  readonly data: Float32Array;
  readonly count: number;
  readonly length: number;
  /** From a pixel to the next one in its line, and from a line to the next. */
  readonly step: number;
  readonly stride: number;
}

/** Rows, then columns. */
export function linesOf({ width, height, data }: Luma): readonly Lines[] {
  return [
    { data, count: height, length: width, step: 1, stride: width },
    { data, count: width, length: height, step: width, stride: 1 },
  ];
}

/**
 * Mean logarithm of the error with which a pixel is predicted from three neighbours on each side, by position from the
 * fourth pixel of the lines on. The weights are those of least squares over all lines. Empty for short lines.
 */
export function predictionErrors(lines: Lines): Float64Array {
  const { data, count, length, step, stride } = lines;
  if (length < 4 * reach) return new Float64Array(0);
  const weights = leastSquares(lines), errors = new Float64Array(length - 2 * reach);
  for (let line = 0; line < count; line++) {
    for (let x = reach; x < length - reach; x++) {
      const at = line * stride + x * step;
      let predicted = 0;
      for (let i = 0; i < taps.length; i++) predicted += weights[i] * data[at + taps[i] * step];
      errors[x - reach] += Math.log(floor + Math.abs(data[at] - predicted));
    }
  }
  return errors.map((sum) => sum / count);
}

function leastSquares({ data, count, length, step, stride }: Lines): Float64Array {
  const others = taps.flatMap((_, i) => i === base ? [] : [i]), n = others.length;
  const matrix = Array.from({ length: n }, () => new Float64Array(n + 1)), row = new Float64Array(n);
  for (let line = 0; line < count; line++) {
    for (let x = reach; x < length - reach; x++) {
      const at = line * stride + x * step, origin = data[at + taps[base] * step], target = data[at] - origin;
      for (let i = 0; i < n; i++) row[i] = data[at + taps[others[i]] * step] - origin;
      for (let i = 0; i < n; i++) {
        for (let j = 0; j < n; j++) matrix[i][j] += row[i] * row[j];
        matrix[i][n] += row[i] * target;
      }
    }
  }
  for (let i = 0; i < n; i++) matrix[i][i] += ridge * count * length;
  const solved = solve(matrix), weights = new Float64Array(taps.length);
  others.forEach((tap, i) => weights[tap] = solved[i]);
  weights[base] = 1 - solved.reduce((a, b) => a + b, 0);
  return weights;
}

/** Solves a positive definite system, given as [n, n + 1] with the right side last, by elimination. */
function solve(matrix: readonly Float64Array[]): Float64Array {
  const n = matrix.length;
  for (let i = 0; i < n; i++) {
    for (let r = i + 1; r < n; r++) {
      const factor = matrix[r][i] / matrix[i][i];
      for (let c = i; c <= n; c++) matrix[r][c] -= factor * matrix[i][c];
    }
  }
  const solution = new Float64Array(n);
  for (let i = n - 1; i >= 0; i--) {
    let value = matrix[i][n];
    for (let c = i + 1; c < n; c++) value -= matrix[i][c] * solution[c];
    solution[i] = value / matrix[i][i];
  }
  return solution;
}
