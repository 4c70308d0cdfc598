/**
 * Two-dimensional convolution and average pooling on channels-last activations [batch, h, w, channels].
 * Weights keep their checkpoint shape [cOut, cIn, kh, kw]; packing re-lays them once.
 */
import type { Activation } from "../kernels.ts";
import { apply, defineOp, expectShape, expectType, type TensorSpec } from "../op.ts";
import { scope } from "../scope.ts";
import { formatShape } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { packWeight } from "./matmul.ts";

/** Zero padding: the same on all sides, or [top, bottom, left, right]. */
export type Padding = number | readonly [top: number, bottom: number, left: number, right: number];

interface ConvInputs {
  readonly [name: string]: Tensor | undefined;
  readonly x: Tensor;
  readonly weight: Tensor;
  readonly bias?: Tensor;
  readonly residual?: Tensor;
}

interface ConvParams {
  readonly stride: number;
  readonly upsample: 1 | 2;
  readonly padding: readonly [number, number, number, number];
  readonly activation: Activation;
}

export const conv2dOp = defineOp({
  name: "conv2d",
  infer({ x, weight, bias, residual }: ConvInputs, { stride, upsample, padding }: ConvParams): TensorSpec[] {
    expectType("conv2d", "x", x, "f32");
    if (x.rank !== 4) throw new Error(`conv2d: x expects [batch, h, w, channels], got ${formatShape(x.shape)}`);
    if (weight.layout !== "conv") throw new Error("conv2d: weight must be packed for a convolution");
    const [batch, h, w, channels] = x.shape;
    const [cOut, cIn, kh, kw] = weight.shape;
    if (cIn !== channels) throw new Error(`conv2d: weight expects ${cIn} input channels, got ${channels}`);
    if (bias) expectShape("conv2d", "bias", bias, [cOut]);
    const [top, bottom, left, right] = padding;
    const outH = Math.floor((h * upsample + top + bottom - kh) / stride) + 1;
    const outW = Math.floor((w * upsample + left + right - kw) / stride) + 1;
    if (outH < 1 || outW < 1) {
      throw new Error(`conv2d: a ${kh}x${kw} kernel does not fit x ${formatShape(x.shape)} with padding [${padding}]`);
    }
    const shape = [batch, outH, outW, cOut];
    if (residual) {
      expectType("conv2d", "residual", residual, "f32");
      expectShape("conv2d", "residual", residual, shape);
    }
    return [{ shape, dtype: "f32" }];
  },
  forward(device, { x, weight, bias, residual }, [out], { stride, upsample, padding, activation }) {
    const [batch, h, w, cIn] = x.shape;
    const [cOut, , kh, kw] = weight.shape;
    device.run("conv2d", {
      x: x.storage,
      weight: weight.storage,
      out: out.storage,
      bias: bias?.storage,
      residual: residual?.storage,
      activation,
      batch,
      h,
      w,
      cIn,
      cOut,
      kh,
      kw,
      stride,
      upsample,
      padTop: padding[0],
      padLeft: padding[2],
      outH: out.shape[1],
      outW: out.shape[2],
      wType: weight.dtype === "f16" ? "f16" : "f32",
    });
  },
});

export interface ConvOptions {
  readonly stride?: number;
  readonly padding?: Padding;
  /** Reads x as if it had been enlarged by this factor (nearest) before padding. */
  readonly upsample?: 1 | 2;
  readonly activation?: Activation;
  /** Added to the result. */
  readonly residual?: Tensor;
}

/**
 * residual + act(bias + weight * x): x[batch, h, w, cIn], weight[cOut, cIn, kh, kw] (packed, or dense and packed on the
 * fly), bias[cOut], result [batch, outH, outW, cOut] with outH = floor((h * upsample + top + bottom - kh) / stride) + 1.
 */
export function conv2d(x: Tensor, weight: Tensor, bias?: Tensor, options: ConvOptions = {}): Tensor {
  const { stride = 1, padding = 0, upsample = 1, activation = "none", residual } = options;
  const params = {
    stride,
    upsample,
    activation,
    padding: typeof padding === "number" ? [padding, padding, padding, padding] as const : padding,
  };
  if (weight.layout === "dense") {
    return scope(() => apply(conv2dOp, { x, weight: packWeight(weight, "conv"), bias, residual }, params));
  }
  return apply(conv2dOp, { x, weight, bias, residual }, params);
}

export const avgPool2dOp = defineOp({
  name: "avgPool2d",
  infer({ x }: { x: Tensor }, { k }: { k: number }): TensorSpec[] {
    expectType("avgPool2d", "x", x, "f32");
    if (x.rank !== 4) throw new Error(`avgPool2d: x expects [batch, h, w, channels], got ${formatShape(x.shape)}`);
    const [batch, h, w, c] = x.shape;
    if (h < k || w < k) throw new Error(`avgPool2d: ${k}x${k} blocks do not fit x ${formatShape(x.shape)}`);
    return [{ shape: [batch, Math.floor(h / k), Math.floor(w / k), c], dtype: "f32" }];
  },
  forward(device, { x }, [out], { k }) {
    const [batch, h, w, c] = x.shape;
    device.run("avgPool2d", { x: x.storage, out: out.storage, batch, h, w, c, k });
  },
});

/** Means of k x k blocks with stride k; incomplete blocks at the right and bottom are dropped. */
export const avgPool2d = (x: Tensor, k: number): Tensor => apply(avgPool2dOp, { x }, { k });
