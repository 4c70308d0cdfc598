/** The rule by which VAR mixes conditional and unconditional logits while sampling. Source: models/var.py. */

import { affine, scope, sub, type Tensor } from "../../core/tensor/mod.ts";

/** Guidance strength t of every scale; guided logits are (1 + t) conditional - t unconditional. */
export function guidanceStrengths(guidance: number, scales: number): number[] {
  return Array.from({ length: scales }, (_, si) => guidance * si / Math.max(scales - 1, 1));
}

/** Guided logits[..., codes] by a strength t. */
export function guide(conditional: Tensor, unconditional: Tensor, strength: number): Tensor {
  return scope(() => sub(affine(conditional, 1 + strength), affine(unconditional, strength)));
}
