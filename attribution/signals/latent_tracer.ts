/**
 * The baseline LatentTracer: how well the decoder can reproduce an image at best. Gradient descent searches the latent,
 * starting from the encoder's. Nothing is trained.
 *
 * Source: Wang et al. 2024, as in sprintml/DataProvenanceIAR, dataprov/baselines.py (`latent_tracer`).
 */
import { Adam, clone, differentiate, mean, scope, sum, type Tensor } from "../../core/tensor/mod.ts";
import type { ImageTokenizer } from "../../models/family.ts";
import type { LoadNetworkOptions } from "../../models/weights.ts";
import { meanSquaredError, reconstruct } from "./reconstruction.ts";

/** How a tokenizer must be loaded for it: the decoder's kernels stay unpacked, because gradients need them so. */
export const tracedWeights: LoadNetworkOptions = { dense: (name) => /^(decoder|post_quant_conv)\./.test(name) };

/** How the latent is searched. */
export interface LatentTracerOptions {
  /** Adam steps. Default 100. */
  readonly iterations?: number;
  /** Learning rate. Default 1e-2. */
  readonly lr?: number;
  /** Iterations after which the learning rate is multiplied by `decay`. Default 50. */
  readonly decayEvery?: number;
  /** Factor of the learning rate. Default 0.5. */
  readonly decay?: number;
  /**
   * "image" (the default): every image has a loss of its own, so its result does not depend on the batch. "batch": one
   * mean loss for the batch, as in the reference. The two differ only through Adam's epsilon.
   */
  readonly lossOver?: "image" | "batch";
}

/**
 * images x[batch, size, size, 3] in the value range, and the latent to start from (fHat, not changed) -> mean
 * (D(latent) - x)^2, [batch], of the latent before the last step, as in the reference. The tokenizer must be loaded
 * with `tracedWeights`. Throws a RangeError on fewer than one iteration.
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
