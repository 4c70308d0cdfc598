/**
 * What the losses share with which tokenizers are trained from nothing: the pixels' loss, gradients through a
 * quantiser, and what a loss returns. The losses themselves are the families'.
 */
import { abs, add, affine, mean, square, sub, type Tensor, withoutTape } from "../core/tensor/mod.ts";

/** A tokenizer's loss and its parts, one element each. */
export interface TokenizerLoss {
  /** reconstruction + latentWeight * (codebook + commitmentWeight * commitment), and further terms of the family. */
  readonly loss: Tensor;
  /** Mean squared error of the pixels in [0, 1]. */
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

/** Weights of the terms that make tokens readable from their images. */
export interface ReadBackWeights {
  /** Of the cross-entropy of the tokens. */
  readonly weight: number;
  /** Of how unequally the latents vary in different directions. */
  readonly isotropyWeight: number;
}

/** Share of the commitment term beside the codebook term (VQ-VAE, arXiv 1711.00937, beta). */
export const commitmentWeight = 0.25;

/**
 * Mean absolute plus `squareWeight` times mean squared error. Images of every family come in the range [-1, 1], so that
 * the two terms weigh the same everywhere.
 */
export function pixelLoss(decoded: Tensor, images: Tensor, squareWeight: number): { loss: Tensor; mse: Tensor } {
  const difference = sub(decoded, images);
  const mse = mean(square(difference));
  return { loss: add(mean(abs(difference)), affine(mse, squareWeight)), mse };
}

/** `value` in the forward pass, the gradient of `through` in the backward pass: through + constant(value - through). */
export function straightThrough(value: Tensor, through: Tensor): Tensor {
  return add(through, withoutTape(() => sub(value, through)));
}
