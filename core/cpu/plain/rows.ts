/**
 * Reductions, norms, softmax, top-k and gathering in plain TypeScript, with float64 sums.
 * Nothing here is threaded.
 */
import type { KernelImplementations } from "../../tensor/kernels.ts";
import type { Buffers } from "../storage.ts";
import { rowTableReader } from "./linear.ts";

export function plainRows(
  buffers: Buffers,
): Pick<
  KernelImplementations,
  | "reduce"
  | "argReduce"
  | "topK"
  | "groupNorm"
  | "layerNorm"
  | "l2Normalize"
  | "softmax"
  | "logSoftmaxGather"
  | "gatherRows"
> {
  return {
    reduce({ op, x, out, outer, n, inner }) {
      const X = buffers.f32("reduce", "x", x, outer * n * inner);
      const OUT = buffers.f32("reduce", "out", out, outer * inner);
      for (let o = 0; o < outer; o++) {
        for (let i = 0; i < inner; i++) {
          let value = op === "max" ? -Infinity : op === "min" ? Infinity : 0;
          for (let j = 0; j < n; j++) {
            const element = X[(o * n + j) * inner + i];
            if (op === "max") value = Math.max(value, element);
            else if (op === "min") value = Math.min(value, element);
            else value += element;
          }
          OUT[o * inner + i] = op === "mean" ? value / n : value;
        }
      }
    },
    argReduce({ op, x, out, outer, n, inner }) {
      const X = buffers.f32("argReduce", "x", x, outer * n * inner);
      const OUT = buffers.i32("argReduce", "out", out, outer * inner);
      const sign = op === "argmax" ? 1 : -1;
      for (let o = 0; o < outer; o++) {
        for (let i = 0; i < inner; i++) {
          let best = -Infinity;
          let index = 0;
          for (let j = 0; j < n; j++) {
            const value = sign * X[(o * n + j) * inner + i];
            if (value > best) {
              best = value;
              index = j;
            }
          }
          OUT[o * inner + i] = index;
        }
      }
    },
    topK({ x, values, indices, rows, n, k }) {
      if (k > n) throw new Error(`topK: k is ${k}, but rows have ${n} elements`);
      const X = buffers.f32("topK", "x", x, rows * n);
      const VALUES = buffers.f32("topK", "values", values, rows * k);
      const INDICES = buffers.i32("topK", "indices", indices, rows * k);
      const order = new Uint32Array(n);
      for (let r = 0; r < rows; r++) {
        const row = X.slice(r * n, (r + 1) * n);
        for (let i = 0; i < n; i++) order[i] = i;
        order.sort((i, j) => row[j] - row[i] || i - j);
        for (let i = 0; i < k; i++) {
          VALUES[r * k + i] = row[order[i]];
          INDICES[r * k + i] = order[i];
        }
      }
    },
    groupNorm({ x, gamma, beta, out, batch, hw, c, groups, eps, activation }) {
      const X = buffers.f32("groupNorm", "x", x, batch * hw * c);
      const GAMMA = buffers.f32("groupNorm", "gamma", gamma, c);
      const BETA = buffers.f32("groupNorm", "beta", beta, c);
      const OUT = buffers.f32("groupNorm", "out", out, batch * hw * c);
      const per = c / groups;
      for (let z = 0; z < batch; z++) {
        for (let g = 0; g < groups; g++) {
          const each = (visit: (i: number, ch: number) => void) => {
            for (let p = 0; p < hw; p++) {
              for (let ch = g * per; ch < (g + 1) * per; ch++) visit((z * hw + p) * c + ch, ch);
            }
          };
          let mean = 0, variance = 0;
          each((i) => mean += X[i]);
          mean /= hw * per;
          each((i) => variance += (X[i] - mean) ** 2);
          const scale = 1 / Math.sqrt(variance / (hw * per) + eps);
          each((i, ch) => {
            const y = (X[i] - mean) * scale * GAMMA[ch] + BETA[ch];
            OUT[i] = activation === "silu" ? y / (1 + Math.exp(-y)) : y;
          });
        }
      }
    },
    layerNorm({ x, out, rows, n, eps, gamma, beta, scale, shift }) {
      const X = buffers.f32("layerNorm", "x", x, rows * n);
      const OUT = buffers.f32("layerNorm", "out", out, rows * n);
      const GAMMA = gamma && buffers.f32("layerNorm", "gamma", gamma, n);
      const BETA = beta && buffers.f32("layerNorm", "beta", beta, n);
      const SCALE = scale && rowTableReader(buffers, "layerNorm", "scale", scale);
      const SHIFT = shift && rowTableReader(buffers, "layerNorm", "shift", shift);
      for (let r = 0; r < rows; r++) {
        let mean = 0, variance = 0;
        for (let i = 0; i < n; i++) mean += X[r * n + i];
        mean /= n;
        for (let i = 0; i < n; i++) variance += (X[r * n + i] - mean) ** 2;
        const factor = 1 / Math.sqrt(variance / n + eps);
        for (let i = 0; i < n; i++) {
          let y = (X[r * n + i] - mean) * factor;
          if (GAMMA) y *= GAMMA[i];
          if (BETA) y += BETA[i];
          if (SCALE) y *= 1 + SCALE(r, i);
          if (SHIFT) y += SHIFT(r, i);
          OUT[r * n + i] = y;
        }
      }
    },
    l2Normalize({ x, out, rows, n, eps }) {
      const X = buffers.f32("l2Normalize", "x", x, rows * n);
      const OUT = buffers.f32("l2Normalize", "out", out, rows * n);
      for (let r = 0; r < rows; r++) {
        let sum = 0;
        for (let i = 0; i < n; i++) sum += X[r * n + i] ** 2;
        const factor = 1 / Math.max(Math.sqrt(sum), eps);
        for (let i = 0; i < n; i++) OUT[r * n + i] = X[r * n + i] * factor;
      }
    },
    softmax({ x, out, rows, n, log }) {
      const X = buffers.f32("softmax", "x", x, rows * n);
      const OUT = buffers.f32("softmax", "out", out, rows * n);
      for (let r = 0; r < rows; r++) {
        let max = -Infinity, sum = 0;
        for (let i = 0; i < n; i++) max = Math.max(max, X[r * n + i]);
        for (let i = 0; i < n; i++) sum += Math.exp(X[r * n + i] - max);
        const logSum = Math.log(sum);
        for (let i = 0; i < n; i++) {
          const y = X[r * n + i] - max;
          OUT[r * n + i] = log ? y - logSum : Math.exp(y) / sum;
        }
      }
    },
    logSoftmaxGather({ x, index, out, rows, n }) {
      const X = buffers.f32("logSoftmaxGather", "x", x, rows * n);
      const INDEX = buffers.i32("logSoftmaxGather", "index", index, rows);
      const OUT = buffers.f32("logSoftmaxGather", "out", out, rows);
      for (let r = 0; r < rows; r++) {
        let max = -Infinity, sum = 0;
        for (let i = 0; i < n; i++) max = Math.max(max, X[r * n + i]);
        for (let i = 0; i < n; i++) sum += Math.exp(X[r * n + i] - max);
        OUT[r] = X[r * n + INDEX[r]] - max - Math.log(sum);
      }
    },
    gatherRows({ x, index, out, rows, rowsX, n, xType }) {
      const INDEX = buffers.i32("gatherRows", "index", index, rows);
      const X = buffers[xType]("gatherRows", "x", x, rowsX * n);
      const OUT = buffers[xType === "i32" ? "i32" : "f32"]("gatherRows", "out", out, rows * n);
      for (let r = 0; r < rows; r++) {
        const source = Math.min(Math.max(INDEX[r], 0), rowsX - 1);
        OUT.set(X.subarray(source * n, (source + 1) * n), r * n);
      }
    },
  };
}
