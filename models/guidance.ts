/**
 * Classifier-free guidance (arXiv 2207.12598) by a factor: unconditional + (conditional - unconditional) x factor. How the
 * factor depends on the token is the families' business.
 */
import { add, affine, scope, sub, type Tensor } from "../core/tensor/mod.ts";

/** Guided logits[..., codes] by a factor. */
export function guideByFactor(conditional: Tensor, unconditional: Tensor, factor: number): Tensor {
  return scope(() => add(unconditional, affine(sub(conditional, unconditional), factor)));
}
