/**
 * Matrix product, convolution, attention and nearest code in plain TypeScript, with float64 sums.
 * Not fast: the first working version of each kernel, kept only while nothing better exists.
 */
import type { Activation, KernelImplementations, Kernels, RowTable, Storage } from "../../tensor/kernels.ts";
import type { Buffers } from "../storage.ts";
import { erf } from "./elementwise.ts";

function activate(x: number, activation: Activation): number {
  switch (activation) {
    case "none":
      return x;
    case "relu":
      return Math.max(x, 0);
    case "silu":
      return x / (1 + Math.exp(-x));
    case "gelu":
      return 0.5 * x * (1 + erf(x * Math.SQRT1_2));
    case "geluTanh":
      return 0.5 * x * (1 + Math.tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
  }
}

export function rowTableReader(buffers: Buffers, kernel: string, name: string, table: RowTable) {
  const data = buffers.f32(kernel, name, table.data, table.data.bytes / 4);
  return (row: number, column: number) =>
    data[Math.floor(row / table.seq) * table.batchStride + (row % table.seq) * table.rowStride + table.offset + column];
}

function readWeight(buffers: Buffers, kernel: string, name: string, storage: Storage, n: number, type: "f32" | "f16") {
  return type === "f16" ? buffers.f16(kernel, name, storage, n) : buffers.f32(kernel, name, storage, n);
}

function pack(
  buffers: Buffers,
  kernel: string,
  args: Pick<Kernels["packLinear"], "x" | "out" | "n" | "k" | "xType" | "outType">,
  source: (n: number, k: number) => number,
): void {
  const x = readWeight(buffers, kernel, "x", args.x, args.n * args.k, args.xType);
  const panels = Math.ceil(args.n / 8);
  const out = readWeight(buffers, kernel, "out", args.out, panels * 8 * args.k, args.outType);
  for (let p = 0; p < panels; p++) {
    for (let k = 0; k < args.k; k++) {
      for (let j = 0; j < 8; j++) {
        const n = p * 8 + j;
        out[(p * args.k + k) * 8 + j] = n < args.n ? x[source(n, k)] : 0;
      }
    }
  }
}

export function plainLinear(
  buffers: Buffers,
): Pick<
  KernelImplementations,
  "matmul" | "packLinear" | "packConv" | "conv2d" | "attention" | "nearestCode" | "avgPool2d"
> {
  return {
    packLinear: (args) => pack(buffers, "packLinear", args, (n, k) => n * args.k + k),
    packConv({ cIn, cOut, kh, kw, ...args }) {
      const taps = kh * kw;
      pack(buffers, "packConv", { ...args, n: cOut, k: cIn * taps }, (n, k) => {
        const tap = Math.floor(k / cIn);
        return (n * cIn + k % cIn) * taps + tap;
      });
    },
    matmul({ a, b, out, batch, m, n, k, aBatchStride, bBatchStride, transA, transB, packed, bType, epilogue }) {
      const A = buffers.f32("matmul", "a", a, (batch - 1) * aBatchStride + m * k);
      const B = packed
        ? readWeight(buffers, "matmul", "b", b, Math.ceil(n / 8) * 8 * k, bType)
        : buffers.f32("matmul", "b", b, (batch - 1) * bBatchStride + n * k);
      const OUT = buffers.f32("matmul", "out", out, batch * m * n);
      const bias = epilogue.bias && buffers.f32("matmul", "bias", epilogue.bias, n);
      const gate = epilogue.gate && rowTableReader(buffers, "matmul", "gate", epilogue.gate);
      const residual = epilogue.residual && buffers.f32("matmul", "residual", epilogue.residual, batch * m * n);
      const sums = new Float64Array(n);
      for (let z = 0; z < batch; z++) {
        const a0 = z * aBatchStride;
        const b0 = packed ? 0 : z * bBatchStride;
        for (let i = 0; i < m; i++) {
          sums.fill(0);
          for (let l = 0; l < k; l++) {
            const value = A[a0 + (transA ? l * m + i : i * k + l)];
            if (packed) { for (let j = 0; j < n; j++) sums[j] += value * B[((j >> 3) * k + l) * 8 + (j & 7)]; }
            else if (transB) { for (let j = 0; j < n; j++) sums[j] += value * B[b0 + j * k + l]; }
            else for (let j = 0; j < n; j++) sums[j] += value * B[b0 + l * n + j];
          }
          const row = z * m + i;
          for (let j = 0; j < n; j++) {
            let value = activate(sums[j] + (bias ? bias[j] : 0), epilogue.activation);
            if (gate) value *= gate(row, j);
            if (residual) value += residual[row * n + j];
            OUT[row * n + j] = value;
          }
        }
      }
    },
    conv2d(args) {
      const { batch, h, w, cIn, cOut, kh, kw, stride, upsample, padTop, padLeft, outH, outW } = args;
      const K = kh * kw * cIn;
      const X = buffers.f32("conv2d", "x", args.x, batch * h * w * cIn);
      const W = readWeight(buffers, "conv2d", "weight", args.weight, Math.ceil(cOut / 8) * 8 * K, args.wType);
      const OUT = buffers.f32("conv2d", "out", args.out, batch * outH * outW * cOut);
      const bias = args.bias && buffers.f32("conv2d", "bias", args.bias, cOut);
      const residual = args.residual && buffers.f32("conv2d", "residual", args.residual, OUT.length);
      const sums = new Float64Array(cOut);
      for (let z = 0, o = 0; z < batch; z++) {
        for (let y = 0; y < outH; y++) {
          for (let x = 0; x < outW; x++, o += cOut) {
            sums.fill(0);
            for (let ky = 0; ky < kh; ky++) {
              const iy = y * stride + ky - padTop;
              if (iy < 0 || iy >= h * upsample) continue;
              for (let kx = 0; kx < kw; kx++) {
                const ix = x * stride + kx - padLeft;
                if (ix < 0 || ix >= w * upsample) continue;
                const x0 = ((z * h + Math.floor(iy / upsample)) * w + Math.floor(ix / upsample)) * cIn;
                for (let c = 0; c < cIn; c++) {
                  const value = X[x0 + c];
                  const k = (ky * kw + kx) * cIn + c;
                  for (let j = 0; j < cOut; j++) sums[j] += value * W[((j >> 3) * K + k) * 8 + (j & 7)];
                }
              }
            }
            for (let j = 0; j < cOut; j++) {
              const value = activate(sums[j] + (bias ? bias[j] : 0), args.activation);
              OUT[o + j] = residual ? value + residual[o + j] : value;
            }
          }
        }
      }
    },
    attention({ q, k, v, out, visible, batch, heads, headDim, lq, lk, kvCapacity, scale }) {
      const Q = buffers.f32("attention", "q", q, batch * lq * heads * headDim);
      const kv = ((batch - 1) * kvCapacity + lk) * heads * headDim;
      const K = buffers.f32("attention", "k", k, kv);
      const V = buffers.f32("attention", "v", v, kv);
      const OUT = buffers.f32("attention", "out", out, batch * lq * heads * headDim);
      const VISIBLE = visible && buffers.i32("attention", "visible", visible, lq);
      const scores = new Float64Array(lk);
      const sums = new Float64Array(headDim);
      for (let z = 0; z < batch; z++) {
        for (let i = 0; i < lq; i++) {
          const count = VISIBLE ? VISIBLE[i] : lk;
          for (let head = 0; head < heads; head++) {
            const q0 = ((z * lq + i) * heads + head) * headDim;
            let max = -Infinity;
            for (let j = 0; j < count; j++) {
              const k0 = ((z * kvCapacity + j) * heads + head) * headDim;
              let dot = 0;
              for (let d = 0; d < headDim; d++) dot += Q[q0 + d] * K[k0 + d];
              scores[j] = dot * scale;
              max = Math.max(max, scores[j]);
            }
            let total = 0;
            sums.fill(0);
            for (let j = 0; j < count; j++) {
              const p = Math.exp(scores[j] - max);
              const v0 = ((z * kvCapacity + j) * heads + head) * headDim;
              total += p;
              for (let d = 0; d < headDim; d++) sums[d] += p * V[v0 + d];
            }
            for (let d = 0; d < headDim; d++) OUT[q0 + d] = sums[d] / total;
          }
        }
      }
    },
    nearestCode({ x, codebook, out, rows, codes, c }) {
      const X = buffers.f32("nearestCode", "x", x, rows * c);
      const C = buffers.f32("nearestCode", "codebook", codebook, codes * c);
      const OUT = buffers.i32("nearestCode", "out", out, rows);
      const norms = new Float64Array(codes);
      for (let v = 0; v < codes; v++) for (let d = 0; d < c; d++) norms[v] += C[v * c + d] ** 2;
      for (let r = 0; r < rows; r++) {
        let best = Infinity;
        OUT[r] = 0;
        for (let v = 0; v < codes; v++) {
          let dot = 0;
          for (let d = 0; d < c; d++) dot += X[r * c + d] * C[v * c + d];
          const distance = norms[v] - 2 * dot;
          if (distance < best) {
            best = distance;
            OUT[r] = v;
          }
        }
      }
    },
    avgPool2d({ x, out, batch, h, w, c, k }) {
      const outH = Math.floor(h / k), outW = Math.floor(w / k);
      const X = buffers.f32("avgPool2d", "x", x, batch * h * w * c);
      const OUT = buffers.f32("avgPool2d", "out", out, batch * outH * outW * c);
      for (let z = 0, o = 0; z < batch; z++) {
        for (let y = 0; y < outH; y++) {
          for (let xx = 0; xx < outW; xx++) {
            for (let ch = 0; ch < c; ch++) {
              let sum = 0;
              for (let dy = 0; dy < k; dy++) {
                for (let dx = 0; dx < k; dx++) sum += X[((z * h + y * k + dy) * w + xx * k + dx) * c + ch];
              }
              OUT[o++] = sum / (k * k);
            }
          }
        }
      }
    },
  };
}
