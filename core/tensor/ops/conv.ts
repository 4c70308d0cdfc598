/**
 * Two-dimensional convolution and average pooling on channels-last activations [batch, h, w, channels].
 * Weights keep their checkpoint shape [cOut, cIn, kh, kw]; packing re-lays them once.
 */
import type { Activation, ConvSizes } from "../kernels.ts";
import { apply, defineOp, empty, expectParameter, expectType, type Op, type TensorSpec } from "../op.ts";
import { formatShape, type Shape } from "../shape.ts";
import { Tensor } from "../tensor.ts";
import { broadcastTo, sum } from "./broadcast.ts";
import { affine, binary } from "./elementwise.ts";
import { packWeight } from "./linear.ts";
import { pad, slice } from "./shape.ts";

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

function convSizes(x: Shape, weight: Shape, out: Shape, { stride, upsample, padding }: ConvParams): ConvSizes {
  const [batch, h, w, cIn] = x;
  const [cOut, , kh, kw] = weight;
  const [padTop, , padLeft] = padding;
  return { batch, h, w, cIn, cOut, kh, kw, stride, upsample, padTop, padLeft, outH: out[1], outW: out[2] };
}

export const conv2dOp: Op<ConvInputs, ConvParams> = defineOp({
  name: "conv2d",
  infer({ x, weight, bias, residual }: ConvInputs, { stride, upsample, padding }: ConvParams): TensorSpec[] {
    expectType("conv2d", "x", x, "f32");
    if (x.rank !== 4) throw new TypeError(`conv2d: x expects [batch, h, w, channels], got ${formatShape(x.shape)}`);
    if (weight.layout === "dense") expectType("conv2d", "weight", weight, "f32");
    else if (weight.layout !== "conv") throw new TypeError("conv2d: weight was packed for a linear map");
    if (weight.rank !== 4) throw new TypeError(`conv2d: weight expects rank 4, got ${formatShape(weight.shape)}`);
    const [batch, h, w, channels] = x.shape;
    const [cOut, cIn, kh, kw] = weight.shape;
    if (cIn !== channels) throw new TypeError(`conv2d: weight expects ${cIn} input channels, got ${channels}`);
    if (bias) expectParameter("conv2d", "bias", bias, [cOut]);
    const [top, bottom, left, right] = padding;
    const outH = Math.floor((h * upsample + top + bottom - kh) / stride) + 1;
    const outW = Math.floor((w * upsample + left + right - kw) / stride) + 1;
    if (outH < 1 || outW < 1) {
      throw new TypeError(
        `conv2d: a ${kh}x${kw} kernel does not fit x ${formatShape(x.shape)} with padding [${padding}]`,
      );
    }
    const shape = [batch, outH, outW, cOut];
    if (residual) expectParameter("conv2d", "residual", residual, shape);
    return [{ shape, dtype: "f32" }];
  },
  forward(device, { x, weight, bias, residual }, [out], params) {
    // A dense weight, as in training, is packed for this call only.
    const packed = weight.layout === "dense" ? packWeight(weight, "conv") : null;
    device.run("conv2d", {
      x: x.storage,
      weight: (packed ?? weight).storage,
      out: out.storage,
      bias: bias?.storage,
      residual: residual?.storage,
      activation: params.activation,
      ...convSizes(x.shape, weight.shape, out.shape, params),
      wType: weight.dtype === "f16" ? "f16" : "f32",
    });
    packed?.dispose();
  },
  gradient: ({ inputs: { x, weight, bias }, upstream: [g], params, needs }) => {
    if (weight.layout !== "dense" && (needs.x || params.activation !== "none")) {
      throw new TypeError("conv2d: the gradient of x needs a dense weight, got a packed one; load the weights dense");
    }
    const { activation } = params;
    const dz = activation === "none"
      ? g
      : binary(`${activation}Gradient`, conv2d(x, weight, bias, { ...params, activation: "none" }), g);
    return {
      x: needs.x ? inputGradient(dz, weight, x.shape, params) : undefined,
      weight: needs.weight ? weightGradient(dz, x, weight.shape, params) : undefined,
      bias: needs.bias ? sum(dz.reshape(-1, weight.shape[0]), 0) : undefined,
      residual: needs.residual ? g : undefined,
    };
  },
  // The gradient of x alone needs no x.
  saves: (needs, { activation }) => needs.weight || activation !== "none" ? ["x", "weight", "bias"] : ["weight"],
});

/** weight[cOut, cIn, kh, kw] with in and out swapped and turned by 180 degrees, [cIn, cOut, kh, kw], packed. */
function packTurned(weight: Tensor): Tensor {
  const { device, shape: [cOut, cIn, kh, kw] } = weight;
  const shape = [cIn, cOut, kh, kw];
  const storage = device.alloc(device.packedBytes("conv", shape, "f32"));
  const sizes = { cOut: cIn, cIn: cOut, kh, kw };
  device.run("packConv", { x: weight.storage, out: storage, ...sizes, xType: "f32", outType: "f32", turned: true });
  return new Tensor(device, shape, "f32", storage, "conv");
}

/** The gradient of x: a convolution of the upstream, spread out by the stride, with the turned weight. */
function inputGradient(g: Tensor, weight: Tensor, shape: Shape, { stride, upsample, padding }: ConvParams): Tensor {
  const [batch, outH, outW, cOut] = g.shape;
  const [, , kh, kw] = weight.shape;
  const h = shape[1] * upsample, w = shape[2] * upsample;
  let spread = g;
  if (stride > 1) {
    const gaps = [[0, 0], [0, 0], [0, stride - 1], [0, 0], [0, stride - 1], [0, 0]] as const;
    spread = pad(g.reshape(batch, outH, 1, outW, 1, cOut), gaps).reshape(batch, outH * stride, outW * stride, cOut);
  }
  const top = kh - 1 - padding[0], left = kw - 1 - padding[2];
  const bottom = h - spread.shape[1] - top + kh - 1, right = w - spread.shape[2] - left + kw - 1;
  const crop = (x: Tensor, axis: number, before: number, after: number) =>
    before < 0 || after < 0 ? slice(x, axis, Math.max(-before, 0), x.shape[axis] - Math.max(-after, 0)) : x;
  spread = crop(crop(spread, 1, top, bottom), 2, left, right);
  const positive = [top, bottom, left, right].map((p) => Math.max(p, 0)) as unknown as Exclude<Padding, number>;
  const dx = conv2d(spread, packTurned(weight), undefined, { padding: positive });
  return upsample === 1 ? dx : affine(avgPool2d(dx, upsample), upsample * upsample);
}

/** The gradient of the weight. */
function weightGradient(g: Tensor, x: Tensor, shape: Shape, params: ConvParams): Tensor {
  const out = empty(x.device, shape);
  x.device.run("conv2dWeightGradient", {
    x: x.storage,
    upstream: g.storage,
    out: out.storage,
    ...convSizes(x.shape, shape, g.shape, params),
  });
  return out;
}

/** Options of `conv2d`. */
export interface ConvOptions {
  /** In both directions (default 1). */
  readonly stride?: number;
  /** Default 0. */
  readonly padding?: Padding;
  /** Reads x enlarged by this factor (nearest) before padding (default 1). */
  readonly upsample?: 1 | 2;
  /** Applied after the bias (default none). */
  readonly activation?: Activation;
  /** [batch, outH, outW, cOut], added last. */
  readonly residual?: Tensor;
}

/**
 * residual + act(bias + weight * x): x[batch, h, w, cIn], weight[cOut, cIn, kh, kw] (packed, or dense and packed for
 * this call), bias[cOut], result [batch, outH, outW, cOut] with outH = floor((h * upsample + top + bottom - kh) /
 * stride) + 1. Throws TypeError when shapes or types do not fit. A packed weight has no gradient.
 */
export function conv2d(x: Tensor, weight: Tensor, bias?: Tensor, options: ConvOptions = {}): Tensor {
  const { stride = 1, padding = 0, upsample = 1, activation = "none", residual } = options;
  const params = {
    stride,
    upsample,
    activation,
    padding: typeof padding === "number" ? [padding, padding, padding, padding] as const : padding,
  };
  return apply(conv2dOp, { x, weight, bias, residual }, params);
}

export const avgPool2dOp: Op<{ x: Tensor }, { k: number }> = defineOp({
  name: "avgPool2d",
  infer({ x }: { x: Tensor }, { k }: { k: number }): TensorSpec[] {
    expectType("avgPool2d", "x", x, "f32");
    if (x.rank !== 4) throw new TypeError(`avgPool2d: x expects [batch, h, w, channels], got ${formatShape(x.shape)}`);
    const [batch, h, w, c] = x.shape;
    if (h < k || w < k) throw new TypeError(`avgPool2d: ${k}x${k} blocks do not fit x ${formatShape(x.shape)}`);
    return [{ shape: [batch, Math.floor(h / k), Math.floor(w / k), c], dtype: "f32" }];
  },
  forward(device, { x }, [out], { k }) {
    const [batch, h, w, c] = x.shape;
    device.run("avgPool2d", { x: x.storage, out: out.storage, batch, h, w, c, k });
  },
  gradient: ({ inputs: { x }, upstream: [g], params: { k } }) => {
    const [batch, h, w, c] = x.shape;
    const [, outH, outW] = g.shape;
    const shares = affine(g, 1 / (k * k)).reshape(batch, outH, 1, outW, 1, c);
    const blocks = broadcastTo(shares, [batch, outH, k, outW, k, c]).reshape(batch, outH * k, outW * k, c);
    return { x: pad(blocks, [[0, 0], [0, h - outH * k], [0, w - outW * k], [0, 0]]) };
  },
  saves: [],
});

/**
 * Means of k x k blocks with stride k: x[batch, h, w, c] -> [batch, floor(h / k), floor(w / k), c]. Incomplete blocks
 * at the right and bottom are dropped. Throws TypeError when x has no whole block.
 */
export const avgPool2d = (x: Tensor, k: number): Tensor => apply(avgPool2dOp, { x }, { k });
