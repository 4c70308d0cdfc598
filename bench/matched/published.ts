/**
 * Public figures of the official models, by their authors or by rizvisaira/iar-model-tracer, beside which those of a set
 * of stand-ins are put. Nothing here was measured by this project.
 */

/** A figure of each family as it was published; absent where none was found. */
export interface Published {
  readonly title: string;
  readonly rar?: string;
  readonly var?: string;
}

/** Figures of tokens and encoders (DataProvenanceIAR, arXiv 2606.28386; iar-model-tracer). */
export const published = {
  recoveredInverse: { title: "tokens found, inverse decoder", rar: "about 85 %", var: "27 %" },
  recoveredOriginal: { title: "tokens found, original encoder" },
  quantLoss: { title: "AUC of QuantLoss, original encoder", rar: "0.789", var: "0.435" },
  encLossUncalibrated: { title: "AUC of EncLoss, not calibrated, original encoder", var: "0.544" },
  encLoss: { title: "AUC of EncLoss, calibrated, original encoder", rar: "0.878", var: "0.909" },
  changedTokens: { title: "AUC of tokens that stay, original encoder", rar: "0.935", var: "0.819" },
  natsFound: {
    title: "guided nats per token of the smallest model's images, as found",
    rar: "5.8 to 7.9",
    var: "10.6 to 11.1",
  },
  natsTrue: { title: "the same with true tokens and class" },
  conditionalTrue: { title: "conditional nats per token of them, true tokens and class" },
  margin: { title: "lead of the own model, nats per token, true tokens and class (median)", rar: "2.4", var: "0.58" },
} as const satisfies Readonly<Record<string, Published>>;

/** Figures of verdicts on the 450 validation images of the competition (iar-model-tracer, by its author). */
export const publishedVerdicts = {
  labels: "94.0 %",
  families: "96.0 %",
  variants: "97.7 %",
  varByRegression: "96.5 %",
  varByOwnSamples: "53.0 %",
} as const;
