/**
 * Classifier-free guidance (arXiv 2207.12598) by a factor: unconditional + (conditional - unconditional) x factor. How the
 * factor depends on the token is the families' business.
 */
import { add, affine, mul, scope, sub, type Tensor } from "../core/tensor/mod.ts";

/** Guided logits[rows, codes] by one factor for all rows, or factors[rows, 1]. */
export function guideByFactor(conditional: Tensor, unconditional: Tensor, factor: number | Tensor): Tensor {
  return scope(() => {
    const difference = sub(conditional, unconditional);
    return add(unconditional, typeof factor === "number" ? affine(difference, factor) : mul(difference, factor));
  });
}
