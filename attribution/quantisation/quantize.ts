/** The type of a quantiser, as signals use it. */
import type { Tensor } from "../../core/tensor/mod.ts";

/**
 * f[batch, h, w, channels] -> tokens[batch, tokenCount] (i32), and the latent fHat of their codes, of the shape of f.
 */
export type Quantize = (f: Tensor) => { tokens: Tensor; fHat: Tensor };
