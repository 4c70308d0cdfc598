/**
 * Attribution: from images to verdicts. `Tracer` does all of it; the rest is what it is made of, for use by itself.
 *
 * - a method of your own: `registerMethod`, `twoStages`, and the types `Evidence`, `Measurements`, `Rules`
 * - signals of one family: `familySignals`, `quantLoss`, `encLoss`, `latentTracer`
 * - likelihoods of tokens: `TokenScorer`, `summarise`, membership features, PRADA
 * - metrics of detection and classification: `auc`, `rocCurve`, `confusionMatrix`, bootstrap intervals
 *
 * @module
 */
export {
  type AttributeOptions,
  type ImageSource,
  type NamedImage,
  Tracer,
  type TracerInfo,
  type TracerOptions,
} from "./run/tracer.ts";
export {
  type Decision,
  type ExtrasName,
  type Method,
  type MethodName,
  methodNames,
  registerMethod,
  twoStages,
  type VariantScores,
} from "./decision/methods.ts";
export type { Decidable } from "./decision/finding.ts";
export type { FamilyRule, RuleChoice, Rules, Strategy } from "./decision/calibration_file.ts";
export {
  type ClassEvidence,
  type ConditionName,
  type Evidence,
  type EvidenceLine,
  type Finding,
  findings,
  isUnreadable,
  type MeasuredLine,
  type MeasurementLine,
  type Measurements,
  type PoseEvidence,
  type SearchEvidence,
  type Settings,
  type Unreadable,
  type VariantEvidence,
  type Verdict,
} from "./evidence/evidence.ts";
export { parseEvidence } from "./evidence/schemas.ts";
export {
  describePose,
  type FindingWords,
  findingWords,
  outlierMeaning,
  verbalSupport,
  type VerdictWords,
  wordsOf,
} from "./evidence/words.ts";
export { asItIsPrior, type MeasuredPose, measuredPoses } from "./evidence/poses.ts";
export * from "./images/edits/mod.ts";
export { describeFacts } from "./images/facts/describe.ts";
export type { FileFacts, ImageFacts, Levels, Unsuitable } from "./images/facts/facts.ts";
export type { Pose } from "./images/pose.ts";
export type { SearchLevel } from "./search/candidates.ts";
export type { FamilyEvidence } from "./signals/family_evidence.ts";
export { type FeatureRow, featuresOf } from "./evidence/features.ts";
export { type Label, type Labels, labelsOf, makeLabels, outlierLabel, unreadableLabel } from "./labels.ts";
export { type ListedImage, listImages } from "./images/list.ts";
export {
  decodePixels,
  type ImageFile,
  type ImageInput,
  type Pixels,
  readImageFile,
  toValueRange,
} from "./images/load.ts";
export type { Quantize } from "./quantisation/quantize.ts";
export { openQuantizer, type Quantizer, type QuantizerName, quantizerNames } from "./quantisation/quantizers.ts";
export { latentTracer, type LatentTracerOptions, tracedWeights } from "./signals/latent_tracer.ts";
export {
  encLoss,
  encLossEpsilon,
  familySignals,
  type Inversion,
  invert,
  meanSquaredError,
  quantLoss,
  reconstruct,
  reconstructionLoss,
  type RequantizedSignals,
  requantizedSignals,
  rowQuantile,
  type Signals,
  tokenErrors,
} from "./signals/reconstruction.ts";
export {
  type ScoreName,
  type SignalLevel,
  type SignalName,
  signalNames,
  type SignalRow,
  signalTable,
} from "./signals/table.ts";
export * from "./likelihood/mod.ts";
export * from "./likelihood/membership/mod.ts";
export * from "./likelihood/prada/mod.ts";
export * from "./metrics/mod.ts";
