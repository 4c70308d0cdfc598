/**
 * Operations of single kernel calls, and bytes of their operands and results, from their arguments: for devices that
 * judge how long a call will take, and for measurements.
 */
import type { KernelName, Kernels } from "./kernels.ts";

/** The work of a kernel call. */
export interface Work {
  /** Operations of products; those of other kernels are not counted, as moving their operands takes longer. */
  readonly flops: number;
  /** Of operands and results, each once. */
  readonly bytes: number;
}

const f32 = 4;

function product(sizes: readonly number[]): number {
  return sizes.reduce((a, b) => a * b, 1);
}

/** Bytes of a broadcast operand: dimensions of stride 0 are stored once. */
function broadcastSize(shape: readonly number[], strides: readonly number[]): number {
  return product(shape.map((d, i) => strides[i] === 0 ? 1 : d));
}

type WorkTable = { readonly [K in KernelName]: (args: Kernels[K], visible: number | undefined) => Work };

const moved = (elements: number, flops = 0): Work => ({ flops, bytes: elements * f32 });

const table: WorkTable = {
  fill: ({ n }) => moved(n),
  unary: ({ n }) => moved(2 * n),
  binary: ({ shape, xStrides, yStrides }) =>
    moved(product(shape) + broadcastSize(shape, xStrides) + broadcastSize(shape, yStrides)),
  cast: ({ n }) => moved(2 * n),
  stridedCopy: ({ shape }) => moved(2 * product(shape)),
  reduce: ({ outer, n, inner }) => moved(outer * inner * (n + 1)),
  argReduce: ({ outer, n, inner }) => moved(outer * inner * (n + 1)),
  topK: ({ rows, n, k }) => moved(rows * (n + 2 * k)),
  matmul: ({ batch, m, n, k, aBatchStride, bBatchStride, bType, epilogue }) => {
    const a = m * k * (aBatchStride === 0 ? 1 : batch);
    const b = n * k * (bBatchStride === 0 ? 1 : batch) * (bType === "f16" ? 0.5 : 1);
    const { bias, gate, residual } = epilogue;
    const result = batch * m * n;
    const gateRows = !gate ? 0 : gate.rowStride !== 0 ? batch * m : 1;
    const extra = (bias ? n : 0) + gateRows * n + (residual ? result : 0);
    return moved(a + b + result + extra, 2 * batch * m * n * k);
  },
  packLinear: ({ n, k }) => moved(2 * n * k),
  packConv: ({ cOut, cIn, kh, kw }) => moved(2 * cOut * cIn * kh * kw),
  conv2d: ({ batch, h, w, cIn, cOut, kh, kw, outH, outW, residual, wType }) => {
    const result = batch * outH * outW * cOut;
    const weight = cOut * cIn * kh * kw * (wType === "f16" ? 0.5 : 1);
    return moved(
      batch * h * w * cIn + weight + result * (residual ? 2 : 1),
      2 * batch * outH * outW * cIn * cOut * kh * kw,
    );
  },
  conv2dWeightGradient: ({ batch, h, w, cIn, cOut, kh, kw, outH, outW }) => {
    const operands = batch * (h * w * cIn + outH * outW * cOut) + cOut * cIn * kh * kw;
    return moved(operands, 2 * batch * outH * outW * cIn * cOut * kh * kw);
  },
  groupNorm: ({ batch, hw, c }) => moved(2 * batch * hw * c),
  groupNormGradient: ({ batch, hw, c }) => moved(3 * batch * hw * c),
  layerNorm: ({ rows, n, scale, shift }) => {
    const modulation = [scale, shift].reduce((sum, t) => sum + (!t ? 0 : t.rowStride !== 0 ? rows * n : n), 0);
    return moved(2 * rows * n + modulation);
  },
  layerNormGradient: ({ rows, n, dx, dScale }) => moved(rows * n * (2 + (dx ? 1 : 0) + (dScale ? 1 : 0))),
  l2Normalize: ({ rows, n }) => moved(2 * rows * n),
  softmax: ({ rows, n }) => moved(2 * rows * n),
  logSoftmaxGather: ({ rows, n }) => moved(rows * (n + 2)),
  guidedScores: ({ rows, n, samplers, guided }) =>
    moved(rows * (n * (guided === undefined ? 2 : 3) + 2 * samplers + 2)),
  attention: ({ batch, heads, headDim, lq, lk }, visible) => {
    const pairs = batch * (visible ?? lq * lk);
    return moved(2 * batch * (lq + lk) * heads * headDim, 4 * heads * headDim * pairs);
  },
  attentionGradient: ({ batch, heads, headDim, lq, lk }) =>
    moved(3 * batch * (lq + lk) * heads * headDim, 10 * batch * heads * headDim * lq * lk),
  gatherRows: ({ rows, n }) => moved(2 * rows * n),
  nearestCode: ({ rows, codes, c }) => moved(rows * c + codes * c + rows, 2 * rows * codes * c),
  adam: ({ n }) => moved(7 * n),
  avgPool2d: ({ batch, h, w, c, k }) => moved(batch * c * (h * w + Math.floor(h / k) * Math.floor(w / k))),
};

/** The work of one kernel call; `visible` is the number of query-key pairs of a masked attention. */
export function kernelWork<K extends KernelName>(kernel: K, args: Kernels[K], visible?: number): Work {
  return table[kernel](args, visible);
}
