/**
 * The loss with which a MaskGIT-VQ tokenizer is trained from nothing: reconstruction, codebook and commitment.
 * No discriminator and no perceptual network: the zoo's tokenizers only have to reconstruct.
 */
import {
  abs,
  add,
  affine,
  embedding,
  keep,
  mean,
  nearestCode,
  square,
  sub,
  type Tensor,
  withoutTape,
} from "../../core/tensor/mod.ts";
import type { Weights } from "../weights.ts";
import type { RarTokenizerConfig } from "./config.ts";
import { decode, encode } from "./tokenizer.ts";

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

/** Mean absolute plus `squareWeight` times mean squared error, the pixels' loss of both tokenizers. */
export function pixelLoss(decoded: Tensor, images: Tensor, squareWeight: number): { loss: Tensor; mse: Tensor } {
  const difference = sub(decoded, images);
  const mse = mean(square(difference));
  return { loss: add(mean(abs(difference)), affine(mse, squareWeight)), mse };
}

/** `value` in the forward pass, the gradient of `through` in the backward pass: through + constant(value - through). */
export function straightThrough(value: Tensor, through: Tensor): Tensor {
  return add(through, withoutTape(() => sub(value, through)));
}

/** images[batch, size, size, 3] in [0, 1] -> the loss. Call it inside `differentiate`, with all weights dense. */
export function tokenizerLoss(
  images: Tensor,
  weights: Weights,
  config: RarTokenizerConfig,
  latentWeight: number,
  observe?: (quantised: Quantised) => void,
): TokenizerLoss {
  const codebook = weights.get("quantize.embedding.weight");
  const f = encode(images, weights, config);
  const [batch, h, w, c] = f.shape;
  const constant = withoutTape(() => f.reshape(batch * h * w, c));
  const tokens = withoutTape(() => nearestCode(constant, codebook));
  observe?.(withoutTape(() => keep({ vectors: constant.alias(), tokens: tokens.alias() })));
  const codes = embedding(codebook, tokens);
  const toCodebook = mean(square(sub(codes, constant)));
  const frozen = withoutTape(() => codes.alias());
  const commitment = mean(square(sub(f.reshape(batch * h * w, c), frozen)));
  const decoded = decode(straightThrough(frozen.reshape(batch, h, w, c), f), weights, config);
  // In the range [-1, 1] as the other family's, so that the terms weigh the same there.
  const { loss, mse } = pixelLoss(affine(decoded, 2, -1), affine(images, 2, -1), 4);
  const latent = add(toCodebook, affine(commitment, commitmentWeight));
  return { loss: add(loss, affine(latent, latentWeight)), mse: affine(mse, 0.25), latent: commitment };
}
