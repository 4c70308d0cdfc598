/**
 * The loss with which a multi-scale VQVAE is trained from nothing: reconstruction, and codebook and commitment terms of
 * every scale. No discriminator and no perceptual network: the zoo's tokenizers only have to reconstruct.
 * Source of the latent terms: FoundationVision/VAR, models/quant.py, `VectorQuantizer2.forward`.
 */
import { add, affine, concat, keep, mean, square, sub, type Tensor, withoutTape } from "../../core/tensor/mod.ts";
import {
  commitmentWeight,
  pixelLoss,
  type Quantised,
  straightThrough,
  type TokenizerLoss,
} from "../tokenizer_training.ts";
import type { Weights } from "../weights.ts";
import type { VqvaeConfig } from "./config.ts";
import type { MultiScaleQuantizer } from "./quantizer.ts";
import { anisotropy, mixTokens, readBackLoss } from "./read_back.ts";
import { decode, encode } from "./vqvae.ts";

export interface VqvaeLossOptions {
  /** Weight of the codebook and commitment terms beside the pixels' loss. */
  readonly latentWeight: number;
  readonly observe?: (quantised: Quantised) => void;
  /** How much the terms of read_back.ts count, and the places of its tokens (`mixedPlaces`); none without. */
  readonly readBack?: {
    readonly weight: number;
    readonly isotropyWeight: number;
    readonly places: Int32Array<ArrayBuffer>;
  };
}

/** The terms of read_back.ts where they are trained. */
export interface VqvaeLoss extends TokenizerLoss {
  readonly readBack?: Tensor;
  readonly readBackError?: Tensor;
  readonly anisotropy?: Tensor;
}

/** images[batch, size, size, 3] in [-1, 1] -> the loss. Call it inside `differentiate`, with all weights dense. */
export function vqvaeLoss(
  images: Tensor,
  weights: Weights,
  quantizer: MultiScaleQuantizer,
  config: VqvaeConfig,
  { latentWeight, observe, readBack }: VqvaeLossOptions,
): VqvaeLoss {
  const f = encode(images, weights, config);
  const { tokens, vectors } = withoutTape(() => {
    const residuals: Tensor[] = [];
    const { tokens } = quantizer.quantize(f, (_, { residual }) => residuals.push(keep(residual.alias())));
    const batch = f.shape[0], c = config.zChannels;
    const vectors = concat(residuals.map((residual) => residual.reshape(batch, -1, c)), 1).reshape(-1, c);
    residuals.forEach((residual) => residual.dispose());
    return { tokens, vectors };
  });
  observe?.(withoutTape(() => keep({ vectors: vectors.alias(), tokens: tokens.reshape(tokens.size) })));
  const constant = withoutTape(() => f.alias());
  const steps = quantizer.cumulative(tokens);
  let latent: Tensor | null = null, commitment: Tensor | null = null;
  for (const step of steps) {
    const frozen = withoutTape(() => step.alias());
    commitment = mean(square(sub(f, frozen)));
    const own = add(mean(square(sub(step, constant))), affine(commitment, commitmentWeight));
    latent = latent ? add(latent, own) : own;
  }
  const final = withoutTape(() => steps.at(-1)!.alias());
  const decoded = decode(straightThrough(final, f), weights, config);
  const { loss, mse } = pixelLoss(decoded, images, 4);
  const total = add(loss, affine(latent!, latentWeight / steps.length));
  const figures = { mse: affine(mse, 0.25), latent: commitment! };
  if (!readBack) return { loss: total, ...figures };
  const mixed = withoutTape(() => mixTokens(tokens, readBack.places));
  const read = readBackLoss(mixed, weights, quantizer, config);
  const spread = anisotropy(f);
  const terms = add(affine(read.loss, readBack.weight), affine(spread, readBack.isotropyWeight));
  return { loss: add(total, terms), ...figures, readBack: read.loss, readBackError: read.error, anisotropy: spread };
}
