/**
 * What is measured of an image by one family's tokenizer, as evidence has it. How it is computed is in reconstruction.ts.
 */
import * as v from "npm:valibot@1.5.0";

/** Reconstruction signals of one family. Squares of values in the family's own value range, 0 or more. */
export interface FamilyEvidence {
  /** Mean squared distance of the latent from its codes. */
  readonly quantLoss: number;
  /** Error of encoding the decoded latent again, as a ratio to that of the first reconstruction. */
  readonly encLoss: number;
  /** The same error without the ratio. */
  readonly encLossUncalibrated: number;
  /** quantLoss * encLoss. */
  readonly combined: number;
  /** 90th percentile of the errors that quantLoss is the mean of. */
  readonly quantErrorTail: number;
  /** Error of the reconstruction through the tokens. Like all below, measured where the settings' `signals` say so. */
  readonly reconstruction?: number;
  /** EncLoss with quantisation, a ratio. */
  readonly encLossQuantized?: number;
  /** Share of the tokens that encoding the reconstruction gives back, 0 to 1. */
  readonly unchangedTokens?: number;
  /** Error of the reconstruction after a hundred steps of descent on the latent. */
  readonly latentTracer?: number;
}

const nonNegative = v.pipe(v.number(), v.minValue(0));
const share = v.pipe(v.number(), v.minValue(0), v.maxValue(1));

/** Checks `FamilyEvidence`. */
export const familyEvidenceSchema = v.object({
  quantLoss: nonNegative,
  encLoss: nonNegative,
  encLossUncalibrated: nonNegative,
  combined: nonNegative,
  quantErrorTail: nonNegative,
  reconstruction: v.optional(nonNegative),
  encLossQuantized: v.optional(nonNegative),
  unchangedTokens: v.optional(share),
  latentTracer: v.optional(nonNegative),
}) satisfies v.GenericSchema<unknown, FamilyEvidence>;
