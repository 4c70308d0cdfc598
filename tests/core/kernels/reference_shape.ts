/**
 * References of the kernels that move, pick or reduce elements: copies, gathers, reductions, top-k, nearest code.
 * Ties go to the first index everywhere.
 */
import type { HostArgs, HostArray, HostResult } from "./reference_types.ts";

export function stridedCopy(args: HostArgs<"stridedCopy">): Record<string, HostResult> {
  const { x, shape, xStrides, xOffset, outStrides, outOffset } = args;
  const out = args.out instanceof Float32Array ? Float64Array.from(args.out) : args.out.slice();
  const visit = (axis: number, from: number, to: number) => {
    if (axis === shape.length) {
      out[to] = x[from];
      return;
    }
    for (let i = 0; i < shape[axis]; i++) visit(axis + 1, from + i * xStrides[axis], to + i * outStrides[axis]);
  };
  visit(0, xOffset, outOffset);
  return { out: out as HostResult };
}

/** The values of x[outer, n, inner] along n. */
function along(x: HostArray, n: number, inner: number, o: number, i: number): number[] {
  return Array.from({ length: n }, (_, j) => x[(o * n + j) * inner + i]);
}

export function reduce({ op, x, outer, n, inner }: HostArgs<"reduce">): Record<string, HostResult> {
  const out = new Float64Array(outer * inner);
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < inner; i++) {
      let sum = 0;
      let max = -Infinity;
      let min = Infinity;
      for (const v of along(x, n, inner, o, i)) {
        sum += v;
        max = Math.max(max, v);
        min = Math.min(min, v);
      }
      out[o * inner + i] = { sum, mean: sum / n, max, min }[op];
    }
  }
  return { out };
}

export function argReduce({ op, x, outer, n, inner }: HostArgs<"argReduce">): Record<string, HostResult> {
  const out = new Int32Array(outer * inner);
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < inner; i++) {
      const values = along(x, n, inner, o, i);
      let best = 0;
      values.forEach((v, j) => {
        if (op === "argmax" ? v > values[best] : v < values[best]) best = j;
      });
      out[o * inner + i] = best;
    }
  }
  return { out };
}

export function topK({ x, rows, n, k }: HostArgs<"topK">): Record<string, HostResult> {
  const values = new Float64Array(rows * k);
  const indices = new Int32Array(rows * k);
  for (let r = 0; r < rows; r++) {
    const order = Array.from({ length: n }, (_, i) => i);
    order.sort((i, j) => x[r * n + j] - x[r * n + i] || i - j);
    for (let i = 0; i < k; i++) {
      indices[r * k + i] = order[i];
      values[r * k + i] = x[r * n + order[i]];
    }
  }
  return { values, indices };
}

export function gatherRows({ x, index, rows, rowsX, n, xType }: HostArgs<"gatherRows">): Record<string, HostResult> {
  const out = xType === "i32" ? new Int32Array(rows * n) : new Float64Array(rows * n);
  for (let r = 0; r < rows; r++) {
    const from = Math.min(Math.max(index[r], 0), rowsX - 1);
    for (let i = 0; i < n; i++) out[r * n + i] = x[from * n + i];
  }
  return { out };
}

/** Squared distance of row `r` of x[rows, c] to every code. */
export function codeDistances(x: HostArray, codebook: HostArray, codes: number, c: number, r: number): number[] {
  return Array.from({ length: codes }, (_, v) => {
    let sum = 0;
    for (let i = 0; i < c; i++) sum += (x[r * c + i] - codebook[v * c + i]) ** 2;
    return sum;
  });
}

export function nearestCode({ x, codebook, rows, codes, c }: HostArgs<"nearestCode">): Record<string, HostResult> {
  const out = new Int32Array(rows);
  for (let r = 0; r < rows; r++) {
    const distances = codeDistances(x, codebook, codes, c, r);
    out[r] = distances.indexOf(Math.min(...distances));
  }
  return { out };
}
