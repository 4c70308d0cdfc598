/**
 * Optimised quantisation by gradient descent on soft codes, the method of the reference, batched over images. The loss
 * is quadratic in the soft codes, so gradients are written out. sweeps.ts and mmse.ts have faster methods.
 *
 * Source: sprintml/DataProvenanceIAR, `refine_soft_assign` (third_party/var/var_arch/quant.py) and `_optimized_quant`
 * (dataprov/models/var.py); Algorithm 3 of arXiv 2606.28386.
 */
import {
  Adam,
  add,
  affine,
  argmax,
  concat,
  matmul,
  mean,
  mul,
  oneHot,
  scope,
  slice,
  softmax,
  square,
  sub,
  sum,
  type Tensor,
  zeros,
} from "../../core/tensor/mod.ts";
import type { ScaleMaps } from "./scale_maps.ts";

/** How a call descends. */
export interface SoftAssignOptions {
  /** Steps of Adam. */
  readonly iterations: number;
  /** Adam's learning rate. */
  readonly lr: number;
  /** Temperature of the softmax in the first iteration. It falls geometrically. */
  readonly tauStart: number;
  /** Temperature in the last iteration. */
  readonly tauEnd: number;
  /**
   * "image": every image has a loss of its own, so its result does not depend on the batch. "batch": one mean loss for
   * the batch, as in the reference. Its gradients shrink with the batch, so Adam's epsilon weighs more.
   */
  readonly lossOver: "image" | "batch";
}

/** The calls of the method. */
export interface SoftAssignSchedule extends SoftAssignOptions {
  /** The first call optimises all scales. Then there is one call for each fixScale = scales - 1, ..., stop + 1. */
  readonly stop: number;
}

/** The reference's schedule (configs/var.yaml): 6 calls of 200 iterations for ten scales. */
export const referenceSchedule: SoftAssignSchedule = {
  iterations: 200,
  lr: 0.1,
  tauStart: 2,
  tauEnd: 0.5,
  stop: 4,
  lossOver: "image",
};

/** The result of a call. */
export interface SoftAssigned {
  /** [batch, tokenCount] (i32). */
  readonly tokens: Tensor;
  /** fHat of the tokens, [batch, side, side, c]. */
  readonly fHat: Tensor;
  /** 0.5 * mean (fHat - f)^2 of the soft codes before every step, [iterations, batch]. */
  readonly losses: Tensor;
}

/**
 * One call of the reference's `refine_soft_assign`, for f[batch, side, side, c] and init[batch, tokenCount] (i32) or
 * null.
 *
 * Scales below `fixScale` are optimised: their logits start at 0.5 for the token of `init` and at 0 for others, and
 * take `iterations` steps of a new Adam. Scales from `fixScale` on keep the token of `init`, or token 0 without it.
 * Throws on a `fixScale` that is not a scale.
 */
export function refineSoftAssign(
  maps: ScaleMaps,
  f: Tensor,
  init: Tensor | null,
  fixScale: number,
  options: SoftAssignOptions,
): SoftAssigned {
  const { iterations, lr, tauStart, tauEnd, lossOver } = options;
  const scales = maps.patchNums.length;
  if (!(Number.isInteger(fixScale) && fixScale >= 1 && fixScale <= scales)) {
    throw new RangeError(`refineSoftAssign: fixScale expects 1 to ${scales}, got ${fixScale}`);
  }
  const batch = f.shape[0];
  const free = maps.starts[fixScale];
  return scope(() => {
    const start = init ?? zeros(maps.device, [batch, maps.tokenCount], "i32");
    // The optimised scales explain what the fixed ones leave of f.
    const target = maps.residual(f, start, fixScale);
    const logits = init
      ? affine(oneHot(slice(init, 1, 0, free), maps.codes), 0.5)
      : zeros(maps.device, [batch, free, maps.codes]);
    const adam = new Adam(new Map([["logits", logits]]));
    const weight = 1 / (maps.size * (lossOver === "batch" ? batch : 1));
    const losses: Tensor[] = [];
    for (let t = 0; t < iterations; t++) {
      const tau = iterations <= 1 ? tauEnd : tauStart * (tauEnd / tauStart) ** (t / (iterations - 1));
      losses.push(scope(() => {
        const { loss, gradient } = softStep(maps, target, logits, { fixScale, tau, weight });
        adam.update(new Map([["logits", gradient]]), lr);
        return loss;
      }));
    }
    adam.dispose();
    const chosen = argmax(logits);
    const tokens = free === maps.tokenCount ? chosen : concat([chosen, slice(start, 1, free)], 1);
    const fHat = maps.dequantize(tokens);
    const all = iterations > 0 ? concat(losses, 0) : zeros(maps.device, [0, batch]);
    return { tokens, fHat, losses: all };
  });
}

/** Loss [1, batch], and the gradient of `weight` times its sum with respect to logits[batch, tokens, codes]. */
function softStep(
  maps: ScaleMaps,
  target: Tensor,
  logits: Tensor,
  { fixScale, tau, weight }: { fixScale: number; tau: number; weight: number },
): { loss: Tensor; gradient: Tensor } {
  const { codebook } = maps;
  const batch = target.shape[0];
  const probabilities = softmax(affine(logits, 1 / tau));
  const codes = matmul(probabilities, codebook);
  let difference = affine(target, -1);
  for (let s = 0; s < fixScale; s++) {
    difference = scope(() => add(difference, maps.forward(maps.scaleOf(codes, s), s)));
  }
  const loss = affine(mean(square(difference).reshape(batch, maps.size), 1).reshape(1, batch), 0.5);
  const up = affine(difference, weight / tau);
  const dCodes = concat(
    Array.from({ length: fixScale }, (_, s) => maps.adjoint(up, s).reshape(batch, -1, maps.channels)),
    1,
  );
  // The softmax's gradient is p (dp - sum p dp), and sum p dp = dCodes . codes, because dp = codebook . dCodes.
  const inner = sub(matmul(dCodes, codebook, { transB: true }), sum(mul(dCodes, codes), 2, true));
  return { loss, gradient: mul(probabilities, inner) };
}

/** One call of the schedule. */
export interface SoftAssignCall extends SoftAssigned {
  /** The first scale that was not optimised. */
  readonly fixScale: number;
}

/** The values of `fixScale` of the calls, in order. Throws unless 0 <= stop < scales. */
export function fixScales(scales: number, stop: number): number[] {
  if (!(Number.isInteger(stop) && stop >= 0 && stop < scales)) {
    throw new RangeError(`optimised quantisation: stop expects 0 to ${scales - 1}, got ${stop}`);
  }
  return Array.from({ length: scales - stop }, (_, i) => scales - i);
}

/**
 * The whole schedule, from greedy tokens init[batch, tokenCount] (i32) and f[batch, side, side, c]: tokens and fHat of
 * the last call. `onCall` sees the result of every call before it is freed.
 */
export function gradientQuantize(
  maps: ScaleMaps,
  f: Tensor,
  init: Tensor,
  schedule: SoftAssignSchedule = referenceSchedule,
  onCall?: (call: SoftAssignCall) => void,
): { tokens: Tensor; fHat: Tensor } {
  const calls = fixScales(maps.patchNums.length, schedule.stop);
  return scope(() => {
    let result = { tokens: init, fHat: f };
    for (const fixScale of calls) {
      const { losses, ...next } = refineSoftAssign(maps, f, result.tokens, fixScale, schedule);
      onCall?.({ ...next, losses, fixScale });
      result = next;
    }
    return result;
  });
}
