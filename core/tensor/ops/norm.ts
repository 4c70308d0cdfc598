/**
 * Normalisations: group norm (with SiLU), layer norm (affine or modulated), l2.
 * Each is one fused kernel; statistics are never stored.
 */
import type { GroupNormSizes } from "../kernels.ts";
import { apply, defineOp, empty, expectParameter, expectType, type Op, type TensorSpec } from "../op.ts";
import { formatShape } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { full } from "../create.ts";
import { sum } from "./broadcast.ts";
import { div, maximum, mul, sqrt, square, sub } from "./elementwise.ts";
import {
  type Modulation,
  modulationGradient,
  type ModulationPosition,
  modulationPosition,
  rowTable,
} from "./modulation.ts";

interface GroupNormParams {
  readonly groups: number;
  readonly eps: number;
  readonly activation: "none" | "silu";
}

function groupNormSizes(x: Tensor, params: GroupNormParams): GroupNormSizes {
  const batch = x.shape[0], c = x.shape[x.rank - 1];
  return { batch, hw: x.size / (batch * c), c, ...params };
}

export const groupNormOp: Op<{ x: Tensor; gamma: Tensor; beta: Tensor }, GroupNormParams> = defineOp({
  name: "groupNorm",
  infer({ x, gamma, beta }: { x: Tensor; gamma: Tensor; beta: Tensor }, { groups }: GroupNormParams): TensorSpec[] {
    expectType("groupNorm", "x", x, "f32");
    const c = x.shape[x.rank - 1];
    if (x.rank < 3 || c % groups !== 0) {
      throw new TypeError(
        `groupNorm: x expects [batch, ..., channels] in ${groups} groups, got ${formatShape(x.shape)}`,
      );
    }
    expectParameter("groupNorm", "gamma", gamma, [c]);
    expectParameter("groupNorm", "beta", beta, [c]);
    return [{ shape: x.shape, dtype: "f32" }];
  },
  forward(device, { x, gamma, beta }, [out], params) {
    device.run("groupNorm", {
      x: x.storage,
      gamma: gamma.storage,
      beta: beta.storage,
      out: out.storage,
      ...groupNormSizes(x, params),
    });
  },
  gradient: ({ inputs: { x, gamma, beta }, upstream: [g], params, needs }) => {
    const { device, shape } = x;
    const c = gamma.shape[0];
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
      ...groupNormSizes(x, params),
    });
    return { x: dx, gamma: dGamma, beta: dBeta };
  },
  saves: ["x", "gamma", "beta"],
  recomputed: true,
});

/** Options of `groupNorm`. */
export interface GroupNormOptions {
  /** Number of groups, which must divide the channels (default 32). */
  readonly groups?: number;
  /** Added to the variance (default 1e-6). */
  readonly eps?: number;
  /** Applied to the result (default none). */
  readonly activation?: "none" | "silu";
}

/**
 * act(gamma * (x - mean) / sqrt(var + eps) + beta) for x[batch, ..., channels], gamma[channels], beta[channels], with
 * mean and variance over all pixels and the channels of a group. Throws TypeError when shapes do not fit.
 */
export function groupNorm(x: Tensor, gamma: Tensor, beta: Tensor, options: GroupNormOptions = {}): Tensor {
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
  readonly scaleAt: ModulationPosition;
  readonly shiftAt: ModulationPosition;
}

function layerNormTables({ x, scale, shift }: LayerNormInputs, { scaleAt, shiftAt }: LayerNormParams) {
  const n = x.shape[x.rank - 1];
  return {
    scale: scale && rowTable("layerNorm", "scale", { table: scale, ...scaleAt }, x, n),
    shift: shift && rowTable("layerNorm", "shift", { table: shift, ...shiftAt }, x, n),
  };
}

export const layerNormOp: Op<LayerNormInputs, LayerNormParams> = defineOp({
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
    const { eps, scaleAt, shiftAt } = params;
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
        scale: scale && rowTable("layerNorm", "scale", { table: scale, ...scaleAt }, x, n),
      });
    }
    return {
      x: dx,
      gamma: dGamma,
      beta: dBeta,
      scale: dScale && modulationGradient(scale!, scaleAt, dScale),
      shift: needs.shift ? modulationGradient(shift!, shiftAt, g) : undefined,
    };
  },
  saves: ["x", "gamma", "beta", "scale"],
});

/** Options of `layerNorm`. */
export interface LayerNormOptions {
  /** Factors [n]. */
  readonly gamma?: Tensor;
  /** Summands [n]. */
  readonly beta?: Tensor;
  /** adaLN scale, for x[batch, rows, n]: the result is multiplied by 1 + scale. */
  readonly scale?: Modulation;
  /** adaLN shift, for x[batch, rows, n]: added last. */
  readonly shift?: Modulation;
  /** Added to the variance (default 1e-6). */
  readonly eps?: number;
}

/**
 * y = (x - mean) / sqrt(var + eps) over the last axis of x[..., n]; then y * gamma + beta, then y * (1 + scale) +
 * shift, each where given. Throws TypeError when shapes do not fit.
 */
export function layerNorm(x: Tensor, options: LayerNormOptions = {}): Tensor {
  const { gamma, beta, scale, shift, eps = 1e-6 } = options;
  const inputs = { x, gamma, beta, scale: scale?.table, shift: shift?.table };
  return apply(layerNormOp, inputs, { eps, scaleAt: modulationPosition(scale), shiftAt: modulationPosition(shift) });
}

export const l2NormalizeOp: Op<{ x: Tensor }, { eps: number }> = defineOp({
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
export const l2Normalize = (x: Tensor, eps: number = 1e-12): Tensor => apply(l2NormalizeOp, { x }, { eps });
