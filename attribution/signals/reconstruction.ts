/**
 * Reconstruction signals: how well a family's tokenizer reproduces an image. Lower means closer to the family.
 * Functions take and return tensors, and work with any quantiser. decision/ judges the signals.
 *
 * Notation: E is the encoder, D the decoder, Q the quantiser; f is the latent and fHat its nearest codes. All losses
 * are means of squared differences over everything but the batch, for images in the tokenizer's value range.
 *
 * Source: sprintml/DataProvenanceIAR, dataprov/signals.py ("Data Provenance for Image Auto-Regressive Generation",
 * arXiv 2606.28386).
 */
import { affine, cast, clamp, div, equal, mean, mul, scope, slice, square, sub, topK } from "../../core/tensor/mod.ts";
import type { Tensor } from "../../core/tensor/mod.ts";
import type { ImageTokenizer } from "../../models/family.ts";
import type { Quantize } from "../quantisation/quantize.ts";

/** Added to numerator and denominator of EncLoss, as in the reference. */
export const encLossEpsilon = 1e-10;

/** The quantile of the token errors that is `quantErrorTail`. */
export const tailQuantile = 0.9;

/** Signals from two passes of encoder and decoder, each [batch]. */
export interface Signals {
  /** QuantLoss: mean (f - fHat)^2. */
  readonly quantLoss: Tensor;
  /** 90th percentile over the positions of f; at each, (f - fHat)^2 is averaged over channels. */
  readonly quantErrorTail: Tensor;
  /** EncLoss: error of the first reconstruction without quantisation, divided by that of the second. */
  readonly encLoss: Tensor;
  /** Error of the first reconstruction: mean (x1 - x)^2 with x1 = D(E(x)). */
  readonly encLossUncalibrated: Tensor;
  /** quantLoss * encLoss. */
  readonly combined: Tensor;
}

/** Signals from another pass of the encoder, two of the decoder and one of the quantiser, each [batch]. */
export interface RequantizedSignals {
  /** Error of the reconstruction from tokens: mean (x1 - x)^2 with x1 = D(fHat). */
  readonly reconstruction: Tensor;
  /** EncLoss with quantisation: that error, divided by the error of reconstructing x1 in the same way. */
  readonly encLossQuantized: Tensor;
  /**
   * Share of the tokens that stay the same when x1 is encoded and quantised, 0 to 1. Higher means closer to the family.
   */
  readonly unchangedTokens: Tensor;
}

/** a, b [batch, ...] -> mean (a - b)^2 per image, [batch]. */
export function meanSquaredError(a: Tensor, b: Tensor): Tensor {
  return scope(() => mean(square(sub(a, b)).reshape(a.shape[0], -1), 1));
}

/** D(latent), clipped to the value range as in the reference: latent[batch, h, w, c] -> [batch, size, size, 3]. */
export function reconstruct(tokenizer: ImageTokenizer, latent: Tensor): Tensor {
  return scope(() => clamp(tokenizer.decode(latent), ...tokenizer.valueRange));
}

/** f, fHat [batch, h, w, c] -> QuantLoss [batch]. */
export function quantLoss(f: Tensor, fHat: Tensor): Tensor {
  return meanSquaredError(f, fHat);
}

/**
 * f, fHat [batch, h, w, c] -> (f - fHat)^2 averaged over channels, [batch, h * w]: an error per token of the largest
 * scale.
 */
export function tokenErrors(f: Tensor, fHat: Tensor): Tensor {
  const [batch, h, w, channels] = f.shape;
  return scope(() => mean(square(sub(f, fHat)).reshape(batch, h * w, channels), 2));
}

/** The q-quantile (0 to 1) of every row of x[batch, n], interpolated as by numpy.quantile: [batch]. */
export function rowQuantile(x: Tensor, q: number): Tensor {
  const [batch, n] = x.shape;
  const place = q * (n - 1), low = Math.floor(place);
  return scope(() => {
    // topK sorts in descending order, so the last value has rank `low` from below.
    const { values } = topK(x, n - low);
    const last = slice(values, 1, n - low - 1, n - low);
    if (place === low) return last.reshape(batch);
    const next = slice(values, 1, n - low - 2, n - low - 1);
    return sub(affine(last, 1 - (place - low)), affine(next, low - place)).reshape(batch);
  });
}

/** Results of the first passes over images, see `invert`. */
export interface Inversion {
  /** E(x). */
  readonly f: Tensor;
  /** x1 = D(E(x)). */
  readonly first: Tensor;
  /** E(x1). */
  readonly again: Tensor;
  /** The latent to quantise. */
  readonly latent: Tensor;
}

/**
 * images x[batch, size, size, 3] -> the latent to quantise. By default it is E(x), as in the reference. An encoder that
 * comes with LatentStatistics is an approximate inverse of the decoder. One step of a fixed-point iteration then
 * corrects a part of its error: E(x) + (E(x) - E(D(E(x)))). EncLoss needs the same passes, so the step is free.
 */
export function invert(tokenizer: ImageTokenizer, images: Tensor, isRefined = tokenizer.latents !== null): Inversion {
  return scope(() => {
    const f = tokenizer.encode(images);
    const first = reconstruct(tokenizer, f);
    const again = tokenizer.encode(first);
    return { f, first, again, latent: isRefined ? sub(affine(f, 2), again) : f };
  });
}

/** The latent of `invert`, without the passes that only EncLoss needs. */
export function latentOf(tokenizer: ImageTokenizer, images: Tensor): Tensor {
  return tokenizer.latents === null ? tokenizer.encode(images) : scope(() => invert(tokenizer, images).latent);
}

/**
 * EncLoss, a double reconstruction without quantisation. With x1 = D(E(x)) and x2 = D(E(x1)), `calibrated` is
 * (mean (x1 - x)^2 + eps) / (mean (x2 - x1)^2 + eps) and `uncalibrated` is mean (x1 - x)^2, each [batch].
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

/**
 * Error of the reconstruction from tokens: mean (D(fHat) - x)^2, [batch]. With the encoder that the tokenizer was
 * trained with, it is the baseline Reconstruction.
 */
export function reconstructionLoss(tokenizer: ImageTokenizer, images: Tensor, fHat: Tensor): Tensor {
  return scope(() => meanSquaredError(reconstruct(tokenizer, fHat), images));
}

/**
 * EncLoss with quantisation: with x1 = D(Q(E(x))) and x2 = D(Q(E(x1))), it is (mean (x1 - x)^2 + eps) / (mean (x2 -
 * x1)^2 + eps). Also the share of tokens in which Q(E(x)) and Q(E(x1)) agree. E stands for the latent of `invert`.
 *
 * If all tokens agree, x2 equals x1 and the denominator is eps alone. So eps is the error of rounding pixels to bytes,
 * a twelfth of a squared step: smaller errors mean nothing for images that were stored as bytes.
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

/**
 * images[batch, size, size, 3] in the tokenizer's value range -> the latent f and its codes fHat, [batch, h, w, c],
 * tokens[batch, tokenCount] (i32), and the signals, each [batch].
 */
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

/** 1 where two i32 tensors agree, else 0 (f32). Exact for codes below 2^24. */
function sameTokens(a: Tensor, b: Tensor): Tensor {
  return scope(() => equal(cast(a, "f32"), cast(b, "f32")));
}
