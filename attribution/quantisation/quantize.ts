/** What a quantiser is to signals: latents in, tokens and what they stand for out. */
import type { Tensor } from "../../core/tensor/mod.ts";

/** f[batch, h, w, channels] -> tokens[batch, tokenCount] (i32) and fHat, the latent they stand for, of the shape of f. */
export type Quantize = (f: Tensor) => { tokens: Tensor; fHat: Tensor };
