/** The numbers that evidence has about an image under one family's tokenizer. reconstruction.ts computes them. */
import * as v from "npm:valibot@1.5.0";

/**
 * Reconstruction signals of an image under one family's tokenizer. Lower means closer to the family, except for
 * `unchangedTokens`. Errors are mean squared differences, 0 or more, of latents or of pixels in the tokenizer's value
 * range.
 */
export interface FamilyEvidence {
  /** Mean squared difference between the latent f and its nearest codes fHat. */
  readonly quantLoss: number;
  /** Error of the first reconstruction without quantisation, divided by that of the second. */
  readonly encLoss: number;
  /** Error of the first reconstruction without quantisation. */
  readonly encLossUncalibrated: number;
  /** quantLoss * encLoss. */
  readonly combined: number;
  /** 90th percentile, over the positions of f, of the squared difference that quantLoss is the mean of. */
  readonly quantErrorTail: number;
  /** Error of the reconstruction D(fHat). Measured at the levels `all` and `baselines`. */
  readonly reconstruction?: number;
  /** EncLoss with quantisation. Measured at the levels `all` and `baselines`. */
  readonly encLossQuantized?: number;
  /**
   * Share of the tokens that stay the same when D(fHat) is encoded and quantised again, 0 to 1; higher means closer to
   * the family. Measured at the levels `all` and `baselines`. The signal `changedTokens` is 1 minus this share.
   */
  readonly unchangedTokens?: number;
  /** Error of the best reconstruction that 100 steps of gradient descent on the latent find. Level `baselines`. */
  readonly latentTracer?: number;
}

const nonNegative = v.pipe(v.number(), v.minValue(0));
const share = v.pipe(v.number(), v.minValue(0), v.maxValue(1));

/** Checks `FamilyEvidence`. */
export const familyEvidenceSchema: v.GenericSchema<unknown, FamilyEvidence> = v.object({
  quantLoss: nonNegative,
  encLoss: nonNegative,
  encLossUncalibrated: nonNegative,
  combined: nonNegative,
  quantErrorTail: nonNegative,
  reconstruction: v.optional(nonNegative),
  encLossQuantized: v.optional(nonNegative),
  unchangedTokens: v.optional(share),
  latentTracer: v.optional(nonNegative),
});
