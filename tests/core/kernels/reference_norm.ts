/**
 * References of the kernels that normalise: group, layer and L2 norms, softmax, and attention, which ends in one.
 * Statistics are taken in two passes, mean first.
 */
import type { HostArgs, HostResult } from "./reference_types.ts";
import { activate } from "./reference_elementwise.ts";
import { rowTableAt } from "./reference_linear.ts";

/** Mean and biased variance. */
function moments(values: readonly number[]): { mean: number; variance: number } {
  let mean = 0;
  for (const v of values) mean += v / values.length;
  let variance = 0;
  for (const v of values) variance += (v - mean) ** 2 / values.length;
  return { mean, variance };
}

export function groupNorm(args: HostArgs<"groupNorm">): Record<string, HostResult> {
  const { x, gamma, beta, batch, hw, c, groups, eps, activation } = args;
  const out = new Float64Array(batch * hw * c);
  const perGroup = c / groups;
  for (let z = 0; z < batch; z++) {
    for (let g = 0; g < groups; g++) {
      const at: number[] = [];
      for (let p = 0; p < hw; p++) {
        for (let i = 0; i < perGroup; i++) at.push((z * hw + p) * c + g * perGroup + i);
      }
      const { mean, variance } = moments(at.map((i) => x[i]));
      for (const i of at) {
        const normal = (x[i] - mean) / Math.sqrt(variance + eps);
        out[i] = activate(activation, normal * gamma[i % c] + beta[i % c]);
      }
    }
  }
  return { out };
}

export function groupNormGradient(args: HostArgs<"groupNormGradient">): Record<string, HostResult> {
  const { x, gamma, beta, upstream, batch, hw, c, groups, eps, activation } = args;
  const dx = new Float64Array(batch * hw * c), dGamma = new Float64Array(c), dBeta = new Float64Array(c);
  const perGroup = c / groups;
  for (let z = 0; z < batch; z++) {
    for (let g = 0; g < groups; g++) {
      const at: number[] = [];
      for (let p = 0; p < hw; p++) {
        for (let i = 0; i < perGroup; i++) at.push((z * hw + p) * c + g * perGroup + i);
      }
      const { mean, variance } = moments(at.map((i) => x[i]));
      const deviation = Math.sqrt(variance + eps);
      const normal = at.map((i) => (x[i] - mean) / deviation);
      const before = at.map((i, k) => {
        const z = normal[k] * gamma[i % c] + beta[i % c];
        const sigmoid = 1 / (1 + Math.exp(-z));
        return upstream[i] * (activation === "silu" ? sigmoid * (1 + z * (1 - sigmoid)) : 1);
      });
      const inner = throughNorm(at.map((i, k) => before[k] * gamma[i % c]), normal, deviation);
      at.forEach((i, k) => {
        dx[i] = inner[k];
        dGamma[i % c] += before[k] * normal[k];
        dBeta[i % c] += before[k];
      });
    }
  }
  return { dx, dGamma, dBeta };
}

/** The gradient of x, given u, that of y = (x - mean) / deviation: (u - mean(u) - y mean(u y)) / deviation. */
function throughNorm(u: readonly number[], y: readonly number[], deviation: number): number[] {
  let mean = 0;
  let slope = 0;
  for (let i = 0; i < u.length; i++) {
    mean += u[i] / u.length;
    slope += u[i] * y[i] / u.length;
  }
  return u.map((v, i) => (v - mean - y[i] * slope) / deviation);
}

export function layerNorm(args: HostArgs<"layerNorm">): Record<string, HostResult> {
  const { x, rows, n, eps, gamma, beta, scale, shift } = args;
  const out = new Float64Array(rows * n);
  for (let r = 0; r < rows; r++) {
    const { mean, variance } = moments(Array.from(x.subarray(r * n, r * n + n)));
    for (let i = 0; i < n; i++) {
      let y = (x[r * n + i] - mean) / Math.sqrt(variance + eps);
      if (gamma) y *= gamma[i];
      if (beta) y += beta[i];
      if (scale) y *= 1 + rowTableAt(scale, r, i);
      if (shift) y += rowTableAt(shift, r, i);
      out[r * n + i] = y;
    }
  }
  return { out };
}

export function layerNormGradient(args: HostArgs<"layerNormGradient">): Record<string, HostResult> {
  const { x, upstream, rows, n, eps, gamma, beta, scale } = args;
  const dx = new Float64Array(rows * n), dScale = new Float64Array(rows * n);
  const dGamma = new Float64Array(n), dBeta = new Float64Array(n);
  for (let r = 0; r < rows; r++) {
    const row = Array.from(x.subarray(r * n, r * n + n));
    const { mean, variance } = moments(row);
    const deviation = Math.sqrt(variance + eps);
    const normal = row.map((v) => (v - mean) / deviation);
    const before = normal.map((y, i) => {
      const g = upstream[r * n + i];
      dScale[r * n + i] = g * (y * (gamma?.[i] ?? 1) + (beta?.[i] ?? 0));
      const own = scale ? g * (1 + rowTableAt(scale, r, i)) : g;
      dGamma[i] += own * y;
      dBeta[i] += own;
      return own * (gamma?.[i] ?? 1);
    });
    dx.set(throughNorm(before, normal, deviation), r * n);
  }
  return { dx, dGamma, dBeta, dScale };
}

export function l2Normalize({ x, rows, n, eps }: HostArgs<"l2Normalize">): Record<string, HostResult> {
  const out = new Float64Array(rows * n);
  for (let r = 0; r < rows; r++) {
    let sum = 0;
    for (let i = 0; i < n; i++) sum += x[r * n + i] ** 2;
    for (let i = 0; i < n; i++) out[r * n + i] = x[r * n + i] / Math.max(Math.sqrt(sum), eps);
  }
  return { out };
}

/** log softmax of a row. */
function logSoftmaxOf(row: ArrayLike<number>): number[] {
  let top = -Infinity;
  for (let i = 0; i < row.length; i++) top = Math.max(top, row[i]);
  let sum = 0;
  for (let i = 0; i < row.length; i++) sum += Math.exp(row[i] - top);
  return Array.from(row, (v) => v - top - Math.log(sum));
}

export function softmax({ x, rows, n, log }: HostArgs<"softmax">): Record<string, HostResult> {
  const out = new Float64Array(rows * n);
  for (let r = 0; r < rows; r++) {
    const logs = logSoftmaxOf(x.subarray(r * n, r * n + n));
    for (let i = 0; i < n; i++) out[r * n + i] = log ? logs[i] : Math.exp(logs[i]);
  }
  return { out };
}

export function logSoftmaxGather({ x, index, rows, n }: HostArgs<"logSoftmaxGather">): Record<string, HostResult> {
  const out = new Float64Array(rows);
  for (let r = 0; r < rows; r++) out[r] = logSoftmaxOf(x.subarray(r * n, r * n + n))[index[r]];
  return { out };
}

export function guidedScores(args: HostArgs<"guidedScores">): Record<string, HostResult> {
  const { conditional, unconditional, index, place, mixing, rows, n, samplers, places } = args;
  const scores = new Float64Array(samplers * 2 * rows), guided = new Float64Array(rows * n);
  for (let s = 0; s < samplers; s++) {
    for (let r = 0; r < rows; r++) {
      const at = 4 * (s * places + place[r]);
      const [factor, share, base, scale] = mixing.subarray(at, at + 4);
      const row = Float64Array.from({ length: n }, (_, i) => {
        const c = conditional[r * n + i], u = unconditional[r * n + i];
        return ((c - share * u) * factor + base * u) * scale;
      });
      scores[2 * s * rows + r] = logSoftmaxOf(row)[index[r]];
      scores[(2 * s + 1) * rows + r] = 1 + row.filter((value) => value > row[index[r]]).length;
      if (s === 0) guided.set(row, r * n);
    }
  }
  return { scores, guided };
}

export function attention(args: HostArgs<"attention">): Record<string, HostResult> {
  const { q, k, v, visible, batch, heads, headDim, lq, lk, kvCapacity, scale } = args;
  const out = new Float64Array(batch * lq * heads * headDim);
  for (let b = 0; b < batch; b++) {
    for (let h = 0; h < heads; h++) {
      for (let i = 0; i < lq; i++) {
        const query = ((b * lq + i) * heads + h) * headDim;
        const key = (j: number) => ((b * kvCapacity + j) * heads + h) * headDim;
        const logits: number[] = [];
        for (let j = 0; j < (visible ? visible[i] : lk); j++) {
          let dot = 0;
          for (let d = 0; d < headDim; d++) dot += q[query + d] * k[key(j) + d];
          logits.push(scale * dot);
        }
        logSoftmaxOf(logits).forEach((logP, j) => {
          for (let d = 0; d < headDim; d++) out[query + d] += Math.exp(logP) * v[key(j) + d];
        });
      }
    }
  }
  return { out };
}

export function attentionGradient(args: HostArgs<"attentionGradient">): Record<string, HostResult> {
  const { q, k, v, upstream, visible, batch, heads, headDim, lq, lk, kvCapacity, scale } = args;
  const dq = new Float64Array(q.length), dk = new Float64Array(k.length), dv = new Float64Array(v.length);
  for (let b = 0; b < batch; b++) {
    for (let h = 0; h < heads; h++) {
      for (let i = 0; i < lq; i++) {
        const query = ((b * lq + i) * heads + h) * headDim;
        const key = (j: number) => ((b * kvCapacity + j) * heads + h) * headDim;
        const logits: number[] = [], products: number[] = [];
        for (let j = 0; j < (visible ? visible[i] : lk); j++) {
          let dot = 0, product = 0;
          for (let d = 0; d < headDim; d++) {
            dot += q[query + d] * k[key(j) + d];
            product += upstream[query + d] * v[key(j) + d];
          }
          logits.push(scale * dot);
          products.push(product);
        }
        const p = logSoftmaxOf(logits).map(Math.exp);
        const mean = p.reduce((sum, value, j) => sum + value * products[j], 0);
        p.forEach((value, j) => {
          const dScore = scale * value * (products[j] - mean);
          for (let d = 0; d < headDim; d++) {
            dq[query + d] += dScore * k[key(j) + d];
            dk[key(j) + d] += dScore * q[query + d];
            dv[key(j) + d] += value * upstream[query + d];
          }
        });
      }
    }
  }
  return { dq, dk, dv };
}
