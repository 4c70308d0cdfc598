/**
 * The baseline LatentTracer: how well the decoder can draw an image at best, found by gradient descent on its latent.
 * It uses the encoder for a start only; nothing is trained.
 *
 * Source: Wang et al. 2024, as in sprintml/DataProvenanceIAR, dataprov/baselines.py (`latent_tracer`).
 */
import { Adam, clone, differentiate, mean, scope, sum, type Tensor } from "../../core/tensor/mod.ts";
import type { ImageTokenizer } from "../../models/family.ts";
import type { LoadNetworkOptions } from "../../models/weights.ts";
import { meanSquaredError, reconstruct } from "./reconstruction.ts";

/** How a family must be loaded for it: gradients flow through the decoder, whose kernels therefore stay unpacked. */
export const tracedWeights: LoadNetworkOptions = { dense: (name) => /^(decoder|post_quant_conv)\./.test(name) };

/** How the latent is searched. */
export interface LatentTracerOptions {
  /** Adam steps. Default 100. */
  readonly iterations?: number;
  /** Default 1e-2. */
  readonly lr?: number;
  /** The learning rate is multiplied by `decay` after every so many iterations. Default 50. */
  readonly decayEvery?: number;
  /** Default 0.5. */
  readonly decay?: number;
  /**
   * What the loss is a mean over. "image" (the default): every image has its own loss, and its result does not depend on
   * the rest of the batch. "batch": the reference's one loss of the whole batch; Adam is blind to the difference but for
   * its epsilon.
   */
  readonly lossOver?: "image" | "batch";
}

/**
 * A family loaded with `tracedWeights`, images[batch, size, size, 3] in its value range, and the latent to start from (fHat; it is left as it is) ->
 * mean (D(latent) - x)^2 after the descent, as it was before the last step, [batch].
 */
export function latentTracer(
  tokenizer: ImageTokenizer,
  images: Tensor,
  start: Tensor,
  { iterations = 100, lr = 1e-2, decayEvery = 50, decay = 0.5, lossOver = "image" }: LatentTracerOptions = {},
): Tensor {
  if (!(Number.isInteger(iterations) && iterations >= 1)) {
    throw new RangeError(`latentTracer: expected one iteration or more, got ${iterations}`);
  }
  return scope(() => {
    const latent = clone(start);
    const optimizer = new Adam(new Map([["latent", latent]]));
    let errors: Tensor | undefined;
    try {
      for (let i = 0; i < iterations; i++) {
        errors?.dispose();
        errors = scope(() => {
          const { result, gradients } = differentiate([latent], () => {
            const errors = meanSquaredError(reconstruct(tokenizer, latent), images);
            return { errors, loss: lossOver === "image" ? sum(errors) : mean(errors) };
          });
          optimizer.update(new Map([["latent", gradients[0]]]), lr * decay ** Math.floor(i / decayEvery));
          gradients[0]?.dispose();
          return result.errors;
        });
      }
      return errors!;
    } finally {
      optimizer.dispose();
    }
  });
}
