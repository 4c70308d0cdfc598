/** The rule by which VAR mixes conditional and unconditional logits while sampling. Source: models/var.py. */

import { affine, mul, scope, sub, type Tensor } from "../../core/tensor/mod.ts";

/** Guidance strength t of every scale; guided logits are (1 + t) conditional - t unconditional. */
export function guidanceStrengths(guidance: number, scales: number): number[] {
  return Array.from({ length: scales }, (_, si) => guidance * si / Math.max(scales - 1, 1));
}

/** Guided logits[..., rows, codes] by one strength t for all rows, or 1 + t and t per row, each [rows, 1]. */
export function guide(
  conditional: Tensor,
  unconditional: Tensor,
  strength: number | { readonly plus: Tensor; readonly minus: Tensor },
): Tensor {
  return scope(() =>
    typeof strength === "number"
      ? sub(affine(conditional, 1 + strength), affine(unconditional, strength))
      : sub(mul(conditional, strength.plus), mul(unconditional, strength.minus))
  );
}
