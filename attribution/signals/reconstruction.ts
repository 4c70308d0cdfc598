/**
 * From images to reconstruction signals: how well a family's tokenizer explains an image. Lower means closer to the family.
 * Tensors in and tensors out, whatever the quantiser; which signal decides, and at what threshold, is in calibration.ts.
 *
 * Definitions: sprintml/DataProvenanceIAR, dataprov/signals.py ("Data Provenance for Image Auto-Regressive Generation",
 * arXiv 2606.28386). All losses are means of squared differences over everything but the batch, images in the family's own
 * value range.
 */
import { affine, cast, clamp, div, equal, mean, mul, scope, slice, square, sub, topK } from "../../core/tensor/mod.ts";
import type { Tensor } from "../../core/tensor/mod.ts";
import type { ImageTokenizer } from "../../models/family.ts";
import type { Quantize } from "../quantisation/quantize.ts";

/** Added to both terms of EncLoss, as in the reference. */
export const encLossEpsilon = 1e-10;

/** The part of the token errors that lies below their tail. */
export const tailQuantile = 0.9;

/** Signals that need two passes of the encoder and of the decoder, each [batch]. */
export interface Signals {
  /** Distance of the latent from its codes: mean (f - fHat)^2. */
  readonly quantLoss: Tensor;
  /** 90th percentile over the positions of f of mean (f - fHat)^2 over channels. */
  readonly quantErrorTail: Tensor;
  /** Error of the first reconstruction without quantisation relative to that of the second. */
  readonly encLoss: Tensor;
  /** Error of the first reconstruction alone: mean (x1 - x)^2. */
  readonly encLossUncalibrated: Tensor;
  /** quantLoss * encLoss. */
  readonly combined: Tensor;
}

/** Signals that need another pass of the encoder, two of the decoder and one of the quantiser, each [batch]. */
export interface RequantizedSignals {
  /** Error of the reconstruction through the tokens: mean (x1 - x)^2. */
  readonly reconstruction: Tensor;
  /** That error relative to the error of reconstructing the reconstruction. */
  readonly encLossQuantized: Tensor;
  /** Share of the tokens that encoding the reconstruction gives back, 0 to 1. Higher means closer to the tokenizer. */
  readonly unchangedTokens: Tensor;
}

/** a, b [batch, ...] -> mean (a - b)^2 per image, [batch]. */
export function meanSquaredError(a: Tensor, b: Tensor): Tensor {
  return scope(() => mean(square(sub(a, b)).reshape(a.shape[0], -1), 1));
}

/** The family's decoder, its output limited to the value range as the reference does. */
export function reconstruct(tokenizer: ImageTokenizer, latent: Tensor): Tensor {
  return scope(() => clamp(tokenizer.decode(latent), ...tokenizer.valueRange));
}

/** f, fHat [batch, h, w, c] -> QuantLoss [batch]. */
export function quantLoss(f: Tensor, fHat: Tensor): Tensor {
  return meanSquaredError(f, fHat);
}

/** f, fHat [batch, h, w, c] -> mean (f - fHat)^2 over channels, [batch, h * w]: an error per token of a full-size scale. */
export function tokenErrors(f: Tensor, fHat: Tensor): Tensor {
  const [batch, h, w, channels] = f.shape;
  return scope(() => mean(square(sub(f, fHat)).reshape(batch, h * w, channels), 2));
}

/** The q-quantile (0 to 1) of every row of x[batch, n], linear between ranks as numpy.quantile's default: [batch]. */
export function rowQuantile(x: Tensor, q: number): Tensor {
  const [batch, n] = x.shape;
  const place = q * (n - 1), low = Math.floor(place);
  return scope(() => {
    // Descending, so that rank `low` from below is the last one.
    const { values } = topK(x, n - low);
    const last = slice(values, 1, n - low - 1, n - low);
    if (place === low) return last.reshape(batch);
    const next = slice(values, 1, n - low - 2, n - low - 1);
    return sub(affine(last, 1 - (place - low)), affine(next, low - place)).reshape(batch);
  });
}

/** What the first passes over images give; see `invert`. */
export interface Inversion {
  /** E(x). */
  readonly f: Tensor;
  /** x1 = D(E(x)). */
  readonly first: Tensor;
  /** E(x1). */
  readonly again: Tensor;
  /** What is quantised. */
  readonly latent: Tensor;
}

/**
 * images[batch, size, size, 3] -> the latent that is to be quantised. An encoder that comes with LatentStatistics is taken
 * for an approximate inverse of the decoder, and one step of a fixed-point iteration makes up for a part of what it misses:
 * E(x) + (E(x) - E(D(E(x)))), whose passes EncLoss needs anyhow. Otherwise, as in the reference, it is E(x).
 */
export function invert(tokenizer: ImageTokenizer, images: Tensor, isRefined = tokenizer.latents !== null): Inversion {
  return scope(() => {
    const f = tokenizer.encode(images);
    const first = reconstruct(tokenizer, f);
    const again = tokenizer.encode(first);
    return { f, first, again, latent: isRefined ? sub(affine(f, 2), again) : f };
  });
}

/** The latent of `invert` alone, without passes that it does not need. */
export function latentOf(tokenizer: ImageTokenizer, images: Tensor): Tensor {
  return tokenizer.latents === null ? tokenizer.encode(images) : scope(() => invert(tokenizer, images).latent);
}

/**
 * Calibrated double reconstruction: with x1 = D(E(x)) and x2 = D(E(x1)), neither quantised,
 * (mean (x1 - x)^2 + eps) / (mean (x2 - x1)^2 + eps). Returns [batch] each.
 *
 * With the encoder that the tokenizer was trained with, `calibrated` is the baseline AEDR.
 */
export function encLoss(
  tokenizer: ImageTokenizer,
  images: Tensor,
  { first, again }: Inversion,
): { calibrated: Tensor; uncalibrated: Tensor } {
  return scope(() => {
    const second = reconstruct(tokenizer, again);
    const uncalibrated = meanSquaredError(first, images);
    return { calibrated: ratio(uncalibrated, meanSquaredError(second, first), encLossEpsilon), uncalibrated };
  });
}

/** Error of the reconstruction through the tokens, [batch]. With the tokenizer's own encoder, the baseline Reconstruction. */
export function reconstructionLoss(tokenizer: ImageTokenizer, images: Tensor, fHat: Tensor): Tensor {
  return scope(() => meanSquaredError(reconstruct(tokenizer, fHat), images));
}

/**
 * EncLoss with quantisation, and what becomes of the tokens: with x1 = D(Q(E(x))) and x2 = D(Q(E(x1))),
 * (mean (x1 - x)^2 + eps) / (mean (x2 - x1)^2 + eps), and the share of equal tokens of Q(E(x)) and Q(E(x1)). E is refined
 * where `invert` refines it.
 *
 * Where all tokens come back, x2 is x1 and its error is nothing: eps is that of rounding pixels to bytes, a twelfth of a
 * step squared, below which an error of images that were stored as bytes cannot mean anything.
 */
export function requantizedSignals(
  tokenizer: ImageTokenizer,
  images: Tensor,
  { tokens, fHat }: { tokens: Tensor; fHat: Tensor },
  quantize: Quantize = (f) => tokenizer.quantize(f),
): RequantizedSignals {
  const [low, high] = tokenizer.valueRange;
  const epsilon = ((high - low) / 255) ** 2 / 12;
  return scope(() => {
    const first = reconstruct(tokenizer, fHat);
    const again = scope(() => quantize(latentOf(tokenizer, first)));
    const unchangedTokens = scope(() => mean(sameTokens(again.tokens, tokens), 1));
    const second = reconstruct(tokenizer, again.fHat);
    const reconstruction = meanSquaredError(first, images);
    return {
      reconstruction,
      encLossQuantized: ratio(reconstruction, meanSquaredError(second, first), epsilon),
      unchangedTokens,
    };
  });
}

/** images[batch, size, size, 3] in the family's value range -> the latent f, tokens[batch, tokenCount] (i32), fHat and the signals. */
export function familySignals(
  tokenizer: ImageTokenizer,
  images: Tensor,
  quantize: Quantize = (f) => tokenizer.quantize(f),
): { f: Tensor; tokens: Tensor; fHat: Tensor; signals: Signals } {
  return scope(() => {
    const inversion = invert(tokenizer, images);
    const f = inversion.latent;
    const { tokens, fHat } = quantize(f);
    const quant = quantLoss(f, fHat);
    const enc = encLoss(tokenizer, images, inversion);
    return {
      f,
      tokens,
      fHat,
      signals: {
        quantLoss: quant,
        quantErrorTail: scope(() => rowQuantile(tokenErrors(f, fHat), tailQuantile)),
        encLoss: enc.calibrated,
        encLossUncalibrated: enc.uncalibrated,
        combined: mul(quant, enc.calibrated),
      },
    };
  });
}

/** (a + eps) / (b + eps). */
function ratio(a: Tensor, b: Tensor, eps: number): Tensor {
  return scope(() => div(affine(a, 1, eps), affine(b, 1, eps)));
}

/** 1 where two i32 tensors agree, 0 elsewhere, f32; exact for codes below 2^24. */
function sameTokens(a: Tensor, b: Tensor): Tensor {
  return scope(() => equal(cast(a, "f32"), cast(b, "f32")));
}
