/**
 * Normalisations: group norm (with SiLU), layer norm (affine or modulated), l2.
 * Each is one fused kernel; statistics are never stored.
 */
import { apply, defineOp, empty, expectParameter, expectType, type TensorSpec } from "../op.ts";
import { formatShape } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { full } from "../create.ts";
import { sum } from "./broadcast.ts";
import { div, maximum, mul, sqrt, square, sub } from "./elementwise.ts";
import { type Modulation, modulationGradient, type ModulationPlace, modulationPlace, rowTable } from "./matmul.ts";

interface GroupNormParams {
  readonly groups: number;
  readonly eps: number;
  readonly activation: "none" | "silu";
}

export const groupNormOp = defineOp({
  name: "groupNorm",
  infer({ x, gamma, beta }: { x: Tensor; gamma: Tensor; beta: Tensor }, { groups }: GroupNormParams): TensorSpec[] {
    expectType("groupNorm", "x", x, "f32");
    const c = x.shape[x.rank - 1];
    if (x.rank < 3 || c % groups !== 0) {
      throw new Error(`groupNorm: x expects [batch, ..., channels] in ${groups} groups, got ${formatShape(x.shape)}`);
    }
    expectParameter("groupNorm", "gamma", gamma, [c]);
    expectParameter("groupNorm", "beta", beta, [c]);
    return [{ shape: x.shape, dtype: "f32" }];
  },
  forward(device, { x, gamma, beta }, [out], params) {
    const batch = x.shape[0], c = x.shape[x.rank - 1];
    device.run("groupNorm", {
      x: x.storage,
      gamma: gamma.storage,
      beta: beta.storage,
      out: out.storage,
      batch,
      hw: x.size / (batch * c),
      c,
      ...params,
    });
  },
  gradient: ({ inputs: { x, gamma, beta }, upstream: [g], params, needs }) => {
    const { device, shape } = x;
    const batch = shape[0], c = gamma.shape[0];
    const dx = needs.x ? empty(device, shape) : undefined;
    const dGamma = needs.gamma ? empty(device, [c]) : undefined;
    const dBeta = needs.beta ? empty(device, [c]) : undefined;
    device.run("groupNormGradient", {
      x: x.storage,
      gamma: gamma.storage,
      beta: beta.storage,
      upstream: g.storage,
      dx: dx?.storage,
      dGamma: dGamma?.storage,
      dBeta: dBeta?.storage,
      batch,
      hw: x.size / (batch * c),
      c,
      ...params,
    });
    return { x: dx, gamma: dGamma, beta: dBeta };
  },
  saves: ["x", "gamma", "beta"],
  recomputed: true,
});

/** act(groupNorm(x)) for x[batch, ..., channels], gamma[channels], beta[channels]. */
export function groupNorm(
  x: Tensor,
  gamma: Tensor,
  beta: Tensor,
  options: { groups?: number; eps?: number; activation?: "none" | "silu" } = {},
): Tensor {
  const { groups = 32, eps = 1e-6, activation = "none" } = options;
  return apply(groupNormOp, { x, gamma, beta }, { groups, eps, activation });
}

interface LayerNormInputs {
  readonly [name: string]: Tensor | undefined;
  readonly x: Tensor;
  readonly gamma?: Tensor;
  readonly beta?: Tensor;
  readonly scale?: Tensor;
  readonly shift?: Tensor;
}

interface LayerNormParams {
  readonly eps: number;
  readonly scalePlace: ModulationPlace;
  readonly shiftPlace: ModulationPlace;
}

function layerNormTables({ x, scale, shift }: LayerNormInputs, { scalePlace, shiftPlace }: LayerNormParams) {
  const n = x.shape[x.rank - 1];
  return {
    scale: scale && rowTable("layerNorm", "scale", scale, scalePlace, x, n),
    shift: shift && rowTable("layerNorm", "shift", shift, shiftPlace, x, n),
  };
}

export const layerNormOp = defineOp({
  name: "layerNorm",
  infer(inputs: LayerNormInputs, params: LayerNormParams): TensorSpec[] {
    const { x, gamma, beta } = inputs;
    expectType("layerNorm", "x", x, "f32");
    const n = x.shape[x.rank - 1];
    if (gamma) expectParameter("layerNorm", "gamma", gamma, [n]);
    if (beta) expectParameter("layerNorm", "beta", beta, [n]);
    layerNormTables(inputs, params);
    return [{ shape: x.shape, dtype: "f32" }];
  },
  forward(device, inputs, [out], params) {
    const { x, gamma, beta } = inputs;
    const n = x.shape[x.rank - 1];
    device.run("layerNorm", {
      x: x.storage,
      out: out.storage,
      rows: x.size / n,
      n,
      eps: params.eps,
      gamma: gamma?.storage,
      beta: beta?.storage,
      ...layerNormTables(inputs, params),
    });
  },
  gradient: ({ inputs: { x, gamma, beta, scale, shift }, upstream: [g], params, needs }) => {
    const { device, shape } = x;
    const { eps, scalePlace, shiftPlace } = params;
    const n = shape[x.rank - 1];
    const dx = needs.x ? empty(device, shape) : undefined;
    const dGamma = needs.gamma ? empty(device, [n]) : undefined;
    const dBeta = needs.beta ? empty(device, [n]) : undefined;
    const dScale = needs.scale ? empty(device, shape) : undefined;
    if (dx || dGamma || dBeta || dScale) {
      device.run("layerNormGradient", {
        x: x.storage,
        upstream: g.storage,
        dx: dx?.storage,
        dGamma: dGamma?.storage,
        dBeta: dBeta?.storage,
        dScale: dScale?.storage,
        rows: x.size / n,
        n,
        eps,
        gamma: gamma?.storage,
        beta: beta?.storage,
        scale: scale && rowTable("layerNorm", "scale", scale, scalePlace, x, n),
      });
    }
    return {
      x: dx,
      gamma: dGamma,
      beta: dBeta,
      scale: dScale && modulationGradient(scale!, scalePlace, dScale),
      shift: needs.shift ? modulationGradient(shift!, shiftPlace, g) : undefined,
    };
  },
  saves: ["x", "gamma", "beta", "scale"],
});

export interface LayerNormOptions {
  readonly gamma?: Tensor;
  readonly beta?: Tensor;
  readonly scale?: Modulation;
  readonly shift?: Modulation;
  readonly eps?: number;
}

/** Normalises the last axis, then gamma and beta where given, then y * (1 + scale) + shift where given (x of rank 3). */
export function layerNorm(x: Tensor, options: LayerNormOptions = {}): Tensor {
  const { gamma, beta, scale, shift, eps = 1e-6 } = options;
  const inputs = { x, gamma, beta, scale: scale?.table, shift: shift?.table };
  return apply(layerNormOp, inputs, { eps, scalePlace: modulationPlace(scale), shiftPlace: modulationPlace(shift) });
}

export const l2NormalizeOp = defineOp({
  name: "l2Normalize",
  infer({ x }: { x: Tensor }): TensorSpec[] {
    expectType("l2Normalize", "x", x, "f32");
    return [{ shape: x.shape, dtype: "f32" }];
  },
  forward(device, { x }, [out], { eps }: { eps: number }) {
    const n = x.shape[x.rank - 1];
    device.run("l2Normalize", { x: x.storage, out: out.storage, rows: x.size / n, n, eps });
  },
  gradient: ({ inputs: { x }, outputs: [out], upstream: [g], params: { eps } }) => {
    const norm = maximum(sqrt(sum(square(x), -1, true)), full(x.device, [1], eps));
    return { x: div(sub(g, mul(out, sum(mul(g, out), -1, true))), norm) };
  },
});

/** x / max(|x|_2, eps) along the last axis. */
export const l2Normalize = (x: Tensor, eps = 1e-12): Tensor => apply(l2NormalizeOp, { x }, { eps });
