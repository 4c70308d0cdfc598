/**
 * Attribution: from images to verdicts, as functions that compose. Deliberately nothing but exports.
 *
 * pixels -> f -> tokens (signals.ts) -> logits (likelihood.ts) -> evidence (evidence.ts) -> verdict (verdict.ts);
 * pipeline.ts joins them into a stream, job.ts is the whole job with files. training/ fine-tunes a family's encoder.
 */
export { type Calibration, loadCalibration, parseCalibration, standardise, uncalibrated } from "./calibration.ts";
export {
  type Evidence,
  type EvidenceLine,
  evidenceSchema,
  type FamilyEvidence,
  isUnreadable,
  type Measurements,
  parseEvidence,
  type Settings,
  type Unreadable,
  unreadableSchema,
  type VariantEvidence,
  type Verdict,
} from "./evidence.ts";
export { decodePixels, type ImageInput, type Pixels, readImageFile, toValueRange } from "./input.ts";
export { type JobEvents, type JobOptions, runJob, type Summary } from "./job.ts";
export {
  familyNames,
  familyOf,
  type Label,
  labels,
  unreadableLabel,
  type VariantLabel,
  variantLabels,
} from "./labels.ts";
export { type Likelihood, summarize, tokenLogProbs } from "./likelihood.ts";
export { type LoadedVariant, Models, type OpenModelsOptions } from "./models.ts";
export { attribute, type AttributeOptions, type Measured, variantsOf } from "./pipeline.ts";
export { formatBytes, type Plan, planMemory, type PlanOptions } from "./plan.ts";
export { Report, type ReportKey } from "./report.ts";
export {
  encLoss,
  encLossEpsilon,
  familySignals,
  meanSquaredError,
  quantLoss,
  reconstruct,
  reconstructionLoss,
  type Signals,
} from "./signals.ts";
export { Submission } from "./submission.ts";
export {
  DivergenceError,
  type EpochRow,
  formatPair,
  makeRecipe,
  officialRecipes,
  openTrainingData,
  type Pair,
  type PairFile,
  pairPath,
  type PairSource,
  readPair,
  type Recipe as TrainingRecipe,
  runTraining,
  Trainee,
  type TrainingData,
  type TrainingEvents,
  type TrainingJobOptions,
  type TrainingSummary,
} from "./training/mod.ts";
export { chooseFamily, decide, type Decision, type Method, type MethodName, methods } from "./verdict.ts";
