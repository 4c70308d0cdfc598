/**
 * The loss with which a MaskGIT-VQ tokenizer is trained from nothing: reconstruction, codebook and commitment.
 * No discriminator and no perceptual network: the zoo's tokenizers only have to reconstruct.
 */
import {
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
import {
  commitmentWeight,
  pixelLoss,
  type Quantised,
  straightThrough,
  type TokenizerLoss,
} from "../tokenizer_training.ts";
import type { Weights } from "../weights.ts";
import type { RarTokenizerConfig } from "./config.ts";
import { decode, encode } from "./tokenizer.ts";

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
