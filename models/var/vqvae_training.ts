/**
 * The loss with which a multi-scale VQVAE is trained from nothing: reconstruction, and codebook and commitment terms of
 * every scale. No discriminator and no perceptual network: the zoo's tokenizers only have to reconstruct.
 * Source of the latent terms: FoundationVision/VAR, models/quant.py, `VectorQuantizer2.forward`.
 */
import { add, affine, concat, keep, mean, square, sub, type Tensor, withoutTape } from "../../core/tensor/mod.ts";
import type { TokenizerLossOptions } from "../family_training.ts";
import { commitmentWeight, pixelLoss, straightThrough, type TokenizerLoss } from "../tokenizer_training.ts";
import type { VarImageTokenizer } from "./family.ts";
import { anisotropy, mixedPlaces, mixTokens, readBackLoss } from "./read_back.ts";

/** The terms of read_back.ts where they are trained. */
export interface VqvaeLoss extends TokenizerLoss {
  readonly readBack?: Tensor;
  readonly readBackError?: Tensor;
  readonly anisotropy?: Tensor;
}

/** images[batch, size, size, 3] in [-1, 1] -> the loss. Call it inside `differentiate`, with all weights dense. */
export function vqvaeLoss(
  tokenizer: VarImageTokenizer,
  images: Tensor,
  { latentWeight, observe, readBack, seed, step }: TokenizerLossOptions,
): VqvaeLoss {
  const { quantizer, weights, config } = tokenizer;
  const f = tokenizer.encode(images);
  const { tokens, vectors } = withoutTape(() => quantised(tokenizer, f));
  observe?.(withoutTape(() => keep({ vectors: vectors.alias(), tokens: tokens.reshape(tokens.size) })));
  const { fHat, latent, commitment } = latentTerms(f, quantizer.cumulative(tokens));
  const { loss, mse } = pixelLoss(tokenizer.decode(straightThrough(fHat, f)), images, 4);
  const total = add(loss, affine(latent, latentWeight / config.patchNums.length));
  const figures = { mse: affine(mse, 0.25), latent: commitment };
  if (!readBack) return { loss: total, ...figures };
  const places = mixedPlaces(images.shape[0], config.patchNums, { seed, step });
  const mixed = withoutTape(() => mixTokens(tokens, places));
  const read = readBackLoss(mixed, weights, quantizer, config);
  const spread = anisotropy(f);
  const terms = add(affine(read.loss, readBack.weight), affine(spread, readBack.isotropyWeight));
  return { loss: add(total, terms), ...figures, readBack: read.loss, readBackError: read.error, anisotropy: spread };
}

/** Tokens of f, and the vectors [n, channels] whose nearest codes were taken, image by image and scale by scale. */
function quantised({ quantizer, config }: VarImageTokenizer, f: Tensor): { tokens: Tensor; vectors: Tensor } {
  const residuals: Tensor[] = [];
  const { tokens } = quantizer.quantize(f, (_, { residual }) => residuals.push(keep(residual.alias())));
  const batch = f.shape[0], c = config.zChannels;
  const vectors = concat(residuals.map((residual) => residual.reshape(batch, -1, c)), 1).reshape(-1, c);
  residuals.forEach((residual) => residual.dispose());
  return { tokens, vectors };
}

/**
 * The sum over scales of the codebook term and its share of the commitment term, and the last scale's commitment term.
 * `steps` are the sums of codes up to every scale; fHat is the last one without a gradient.
 */
function latentTerms(f: Tensor, steps: readonly Tensor[]): { fHat: Tensor; latent: Tensor; commitment: Tensor } {
  const constant = withoutTape(() => f.alias());
  let latent: Tensor | null = null, commitment: Tensor | null = null;
  for (const step of steps) {
    const frozen = withoutTape(() => step.alias());
    commitment = mean(square(sub(f, frozen)));
    const term = add(mean(square(sub(step, constant))), affine(commitment, commitmentWeight));
    latent = latent ? add(latent, term) : term;
  }
  const fHat = withoutTape(() => steps.at(-1)!.alias());
  return { fHat, latent: latent!, commitment: commitment! };
}
