/**
 * What the losses of all tokenizers share that are trained from nothing: their parts, the pixels' loss, and the
 * straight-through gradient. A family's own loss is in its folder.
 */
import { abs, add, affine, mean, square, sub, type Tensor, withoutTape } from "../core/tensor/mod.ts";

/** A loss and its parts. */
export interface TokenizerLoss {
  /** reconstruction + latentWeight * (codebook + commitmentWeight * commitment). */
  readonly loss: Tensor;
  /** Mean squared error of the pixels in the value range. */
  readonly mse: Tensor;
  /** Mean squared distance of the latents from their codes. */
  readonly latent: Tensor;
}

/** What an observer of the quantisation sees, to revive codes that are never chosen. Both live until disposed. */
export interface Quantised {
  /** Vectors whose nearest codes were taken, [n, channels]. */
  readonly vectors: Tensor;
  /** Their codes, [n] (i32). */
  readonly tokens: Tensor;
}

/** Share of the commitment term beside the codebook term (VQ-VAE, arXiv 1711.00937, beta). */
export const commitmentWeight = 0.25;

/** Mean absolute plus `squareWeight` times mean squared error, the pixels' loss of all tokenizers. */
export function pixelLoss(decoded: Tensor, images: Tensor, squareWeight: number): { loss: Tensor; mse: Tensor } {
  const difference = sub(decoded, images);
  const mse = mean(square(difference));
  return { loss: add(mean(abs(difference)), affine(mse, squareWeight)), mse };
}

/** `value` in the forward pass, the gradient of `through` in the backward pass: through + constant(value - through). */
export function straightThrough(value: Tensor, through: Tensor): Tensor {
  return add(through, withoutTape(() => sub(value, through)));
}
