/**
 * What is measured of an image by one family's tokenizer, as evidence has it. How it is computed is in reconstruction.ts.
 */
import * as v from "npm:valibot@1.5.0";

const nonNegative = v.pipe(v.number(), v.minValue(0));
const share = v.pipe(v.number(), v.minValue(0), v.maxValue(1));

/** Reconstruction signals of one family. Squares of values in the family's own value range. */
export const familyEvidenceSchema = v.object({
  quantLoss: nonNegative,
  /** Calibrated, a ratio. */
  encLoss: nonNegative,
  encLossUncalibrated: nonNegative,
  /** quantLoss * encLoss. */
  combined: nonNegative,
  /** 90th percentile of the errors that quantLoss is the mean of. */
  quantErrorTail: nonNegative,
  // Measured where the settings' `signals` say so.
  /** Error of the reconstruction through the tokens. */
  reconstruction: v.optional(nonNegative),
  /** EncLoss with quantisation, a ratio. */
  encLossQuantized: v.optional(nonNegative),
  /** Share of the tokens that encoding the reconstruction gives back. */
  unchangedTokens: v.optional(share),
  /** Error of the reconstruction after a hundred steps of descent on the latent. */
  latentTracer: v.optional(nonNegative),
});

export type FamilyEvidence = v.InferOutput<typeof familyEvidenceSchema>;
