/**
 * From images to reconstruction signals: how well a family's tokenizer explains an image. Lower means closer to the family.
 * Greedy quantisation only, tensors in and tensors out; thresholds are in calibration.ts.
 *
 * Definitions: sprintml/DataProvenanceIAR, dataprov/signals.py ("Data Provenance for Image Auto-Regressive Generation",
 * arXiv 2606.28386). All losses are means of squared differences over everything but the batch, images in the family's own
 * value range.
 */
import { affine, clamp, div, mean, mul, scope, square, sub, type Tensor } from "../core/tensor/mod.ts";
import type { Family } from "../models/family.ts";

/** Added to both terms of EncLoss, as in the reference. */
export const encLossEpsilon = 1e-10;

/** The signals of a batch, each [batch]. */
export interface Signals {
  /** Distance of the latent from its codes: mean (f - fHat)^2. */
  readonly quantLoss: Tensor;
  /** Error of the first reconstruction without quantisation relative to that of the second. */
  readonly encLoss: Tensor;
  /** Error of the first reconstruction alone: mean (x1 - x)^2. */
  readonly encLossUncalibrated: Tensor;
  /** quantLoss * encLoss. */
  readonly combined: Tensor;
}

/** a, b [batch, ...] -> mean (a - b)^2 per image, [batch]. */
export function meanSquaredError(a: Tensor, b: Tensor): Tensor {
  return scope(() => mean(square(sub(a, b)).reshape(a.shape[0], -1), 1));
}

/** The family's decoder, its output limited to the value range as the reference does. */
export function reconstruct(family: Family, latent: Tensor): Tensor {
  return scope(() => clamp(family.decode(latent), ...family.valueRange));
}

/** f, fHat [batch, h, w, c] -> QuantLoss [batch]. */
export function quantLoss(f: Tensor, fHat: Tensor): Tensor {
  return meanSquaredError(f, fHat);
}

/**
 * Calibrated double reconstruction: with x1 = D(E(x)) and x2 = D(E(x1)), neither quantised,
 * (mean (x1 - x)^2 + eps) / (mean (x2 - x1)^2 + eps). `f` is E(x). Returns [batch] each.
 */
export function encLoss(family: Family, images: Tensor, f: Tensor): { calibrated: Tensor; uncalibrated: Tensor } {
  return scope(() => {
    const first = reconstruct(family, f);
    const second = scope(() => reconstruct(family, family.encode(first)));
    const uncalibrated = meanSquaredError(first, images);
    const floor = meanSquaredError(second, first);
    const calibrated = div(affine(uncalibrated, 1, encLossEpsilon), affine(floor, 1, encLossEpsilon));
    return { calibrated, uncalibrated };
  });
}

/** Error of the reconstruction through the tokens, [batch]: the baseline that needs one decoder pass more. */
export function reconstructionLoss(family: Family, images: Tensor, fHat: Tensor): Tensor {
  return scope(() => meanSquaredError(reconstruct(family, fHat), images));
}

/** images[batch, size, size, 3] in the family's value range -> tokens[batch, tokenCount] (i32) and the signals. */
export function familySignals(family: Family, images: Tensor): { tokens: Tensor; signals: Signals } {
  return scope(() => {
    const f = family.encode(images);
    const { tokens, fHat } = family.quantize(f);
    const quant = quantLoss(f, fHat);
    const enc = encLoss(family, images, f);
    return {
      tokens,
      signals: {
        quantLoss: quant,
        encLoss: enc.calibrated,
        encLossUncalibrated: enc.uncalibrated,
        combined: mul(quant, enc.calibrated),
      },
    };
  });
}
