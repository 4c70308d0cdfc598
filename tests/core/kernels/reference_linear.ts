/**
 * References of the kernels that are sums of products over two operands: matmul and conv2d, and average pooling.
 * Weights are taken as they were before packing, so the packing kernels are tested with them.
 */
import type { HostArgs, HostArray, HostResult } from "./reference_types.ts";
import { activate } from "./reference_elementwise.ts";

/** A RowTable on the host. */
export interface HostRowTable {
  readonly data: HostArray;
  readonly seq: number;
  readonly batchStride: number;
  readonly rowStride: number;
  readonly offset: number;
}

export function rowTableAt(table: HostRowTable, row: number, column: number): number {
  const { data, seq, batchStride, rowStride, offset } = table;
  return data[Math.floor(row / seq) * batchStride + (row % seq) * rowStride + offset + column];
}

/** A weight as the device stores it. */
function stored(value: number, type: "f32" | "f16"): number {
  return type === "f16" ? Math.f16round(value) : value;
}

export function matmul(args: HostArgs<"matmul">): Record<string, HostResult> {
  const { a, b, batch, m, n, k, aBatchStride, bBatchStride, transA, transB, packed, bType, epilogue } = args;
  const out = new Float64Array(batch * m * n);
  for (let z = 0; z < batch; z++) {
    for (let i = 0; i < m; i++) {
      for (let j = 0; j < n; j++) {
        let sum = 0;
        for (let l = 0; l < k; l++) {
          const left = a[z * aBatchStride + (transA ? l * m + i : i * k + l)];
          const right = packed ? stored(b[j * k + l], bType) : b[z * bBatchStride + (transB ? j * k + l : l * n + j)];
          sum += left * right;
        }
        const row = z * m + i;
        let value = activate(epilogue.activation, sum + (epilogue.bias?.[j] ?? 0));
        if (epilogue.gate) value *= rowTableAt(epilogue.gate, row, j);
        if (epilogue.residual) value += epilogue.residual[row * n + j];
        out[row * n + j] = value;
      }
    }
  }
  return { out };
}

export function conv2d(args: HostArgs<"conv2d">): Record<string, HostResult> {
  const { x, weight, bias, residual, activation, batch, h, w, cIn, cOut, kh, kw } = args;
  const { stride, upsample, padTop, padLeft, outH, outW, wType } = args;
  const out = new Float64Array(batch * outH * outW * cOut);
  let o = 0;
  for (let z = 0; z < batch; z++) {
    for (let oy = 0; oy < outH; oy++) {
      for (let ox = 0; ox < outW; ox++) {
        for (let co = 0; co < cOut; co++, o++) {
          let sum = bias?.[co] ?? 0;
          for (let ky = 0; ky < kh; ky++) {
            for (let kx = 0; kx < kw; kx++) {
              const y = oy * stride + ky - padTop;
              const xx = ox * stride + kx - padLeft;
              if (y < 0 || y >= h * upsample || xx < 0 || xx >= w * upsample) continue;
              const pixel = (z * h + Math.floor(y / upsample)) * w + Math.floor(xx / upsample);
              for (let ci = 0; ci < cIn; ci++) {
                sum += x[pixel * cIn + ci] * stored(weight[((co * cIn + ci) * kh + ky) * kw + kx], wType);
              }
            }
          }
          out[o] = activate(activation, sum) + (residual?.[o] ?? 0);
        }
      }
    }
  }
  return { out };
}

export function conv2dWeightGradient(args: HostArgs<"conv2dWeightGradient">): Record<string, HostResult> {
  const { x, upstream, batch, h, w, cIn, cOut, kh, kw, stride, upsample, padTop, padLeft, outH, outW } = args;
  const out = new Float64Array(cOut * cIn * kh * kw);
  for (let z = 0; z < batch; z++) {
    for (let oy = 0; oy < outH; oy++) {
      for (let ox = 0; ox < outW; ox++) {
        const g = ((z * outH + oy) * outW + ox) * cOut;
        for (let ky = 0; ky < kh; ky++) {
          for (let kx = 0; kx < kw; kx++) {
            const y = oy * stride + ky - padTop;
            const xx = ox * stride + kx - padLeft;
            if (y < 0 || y >= h * upsample || xx < 0 || xx >= w * upsample) continue;
            const pixel = (z * h + Math.floor(y / upsample)) * w + Math.floor(xx / upsample);
            for (let co = 0; co < cOut; co++) {
              for (let ci = 0; ci < cIn; ci++) {
                out[((co * cIn + ci) * kh + ky) * kw + kx] += upstream[g + co] * x[pixel * cIn + ci];
              }
            }
          }
        }
      }
    }
  }
  return { out };
}

export function avgPool2d({ x, batch, h, w, c, k }: HostArgs<"avgPool2d">): Record<string, HostResult> {
  const outH = Math.floor(h / k);
  const outW = Math.floor(w / k);
  const out = new Float64Array(batch * outH * outW * c);
  let o = 0;
  for (let z = 0; z < batch; z++) {
    for (let oy = 0; oy < outH; oy++) {
      for (let ox = 0; ox < outW; ox++) {
        for (let ci = 0; ci < c; ci++, o++) {
          let sum = 0;
          for (let ky = 0; ky < k; ky++) {
            for (let kx = 0; kx < k; kx++) sum += x[((z * h + oy * k + ky) * w + ox * k + kx) * c + ci];
          }
          out[o] = sum / (k * k);
        }
      }
    }
  }
  return { out };
}
