/**
 * The loss with which a MaskGIT-VQ tokenizer is trained from nothing: reconstruction, codebook and commitment.
 * No discriminator and no perceptual network: the zoo's tokenizers only have to reconstruct.
 */
import { add, affine, embedding, keep, mean, nearestCode, square, sub, withoutTape } from "../../core/tensor/mod.ts";
import type { Tensor } from "../../core/tensor/mod.ts";
import type { TokenizerLossOptions } from "../family_training.ts";
import { commitmentWeight, pixelLoss, straightThrough, type TokenizerLoss } from "../tokenizer_training.ts";
import type { RarImageTokenizer } from "./family.ts";

/** images[batch, size, size, 3] in [0, 1] -> the loss. Call it inside `differentiate`, with all weights dense. */
export function tokenizerLoss(
  tokenizer: RarImageTokenizer,
  images: Tensor,
  { latentWeight, readBack, observe }: TokenizerLossOptions,
): TokenizerLoss {
  if (readBack !== undefined) throw new RangeError("tokenizerLoss: RAR's tokenizer has no terms `readBack`");
  const { codebook } = tokenizer;
  const f = tokenizer.encode(images);
  const [batch, h, w, c] = f.shape;
  const constant = withoutTape(() => f.reshape(batch * h * w, c));
  const tokens = withoutTape(() => nearestCode(constant, codebook));
  observe?.(withoutTape(() => keep({ vectors: constant.alias(), tokens: tokens.alias() })));
  const codes = embedding(codebook, tokens);
  const toCodebook = mean(square(sub(codes, constant)));
  const frozen = withoutTape(() => codes.alias());
  const commitment = mean(square(sub(f.reshape(batch * h * w, c), frozen)));
  const decoded = tokenizer.decode(straightThrough(frozen.reshape(batch, h, w, c), f));
  const { loss, mse } = pixelLoss(affine(decoded, 2, -1), affine(images, 2, -1), 4);
  const latent = add(toCodebook, affine(commitment, commitmentWeight));
  return { loss: add(loss, affine(latent, latentWeight)), mse: affine(mse, 0.25), latent: commitment };
}
