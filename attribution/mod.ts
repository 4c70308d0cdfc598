/**
 * Attribution: from images to verdicts, as functions that compose. Nothing but exports.
 *
 * images -> pixels -> f -> tokens -> signals and likelihoods -> evidence -> decision. `Tracer` joins them; the folders in
 * their order are images, quantisation, likelihood, signals, evidence, decision, run, calibration, evaluation.
 *
 * @module
 */
export {
  type Calibration,
  type Costs,
  type FamilyRule,
  loadCalibration,
  parseCalibration,
  type RuleChoice,
  type Rules,
  rulesOf,
  standardise,
  strategies,
  type Strategy,
  uncalibrated,
} from "./decision/calibration_file.ts";
export { type Candidate, type Fit, fitCalibration, type FitOptions, type Labelled } from "./calibration/thresholds.ts";
export { type CalibrationOptions, type CalibrationResult, runCalibration } from "./calibration/calibrate.ts";
export { type Estimate, evaluate, type Evaluation, type Judged, type Separation } from "./evaluation/evaluate.ts";
export {
  type EvaluationEvents,
  type EvaluationOptions,
  type EvaluationResult,
  runEvaluation,
} from "./evaluation/run_evaluation.ts";
export { type LabelledImage, listLabelFolders, listWithTable } from "./images/labelled.ts";
export { attackedImages, type RobustnessPoint, robustnessPoint } from "./evaluation/robustness.ts";
export {
  type ClassEvidence,
  type ConditionName,
  conditionNames,
  type Evidence,
  type EvidenceLine,
  evidenceSchema,
  type FamilyEvidence,
  isUnreadable,
  type MeasuredLine,
  type MeasurementLine,
  type Measurements,
  parseEvidence,
  type Settings,
  type Unreadable,
  unreadableSchema,
  type VariantEvidence,
  type Verdict,
} from "./evidence/evidence.ts";
export { decodePixels, type ImageInput, type Pixels, readImageFile, toValueRange } from "./images/load.ts";
export {
  type AttributeOptions,
  type ImageSource,
  type NamedImage,
  Tracer,
  type TracerInfo,
  type TracerOptions,
} from "./run/tracer.ts";
export { chooseModels } from "./run/choose_models.ts";
export { type JobEvents, type JobOptions, runJob, type Summary } from "./run/attribute.ts";
export { groupOf, type Label, type Labels, labelsOf, makeLabels, outlierLabel, unreadableLabel } from "./labels.ts";
export * from "./likelihood/mod.ts";
export { type LoadedVariant, type OpenPoolOptions, VariantPool } from "./run/variant_pool.ts";
export * from "./likelihood/membership/mod.ts";
export * from "./metrics/mod.ts";
export { attribute, measure, type Measured, type MeasureOptions, type Networks } from "./run/pipeline.ts";
export { type Plan, planMemory, type PlanOptions } from "./run/memory_plan.ts";
export * from "./likelihood/prada/mod.ts";
export { Report } from "./run/report.ts";
export {
  type Measuring,
  type Observer,
  type RunEvents,
  type RunOptions,
  type Scoring,
  settingsOf,
} from "./run/open_run.ts";
export { latentTracer, type LatentTracerOptions, tracedWeights } from "./signals/latent_tracer.ts";
export { measureSignals } from "./signals/measure.ts";
export type { Quantize } from "./quantisation/quantize.ts";
export { openQuantizer, type Quantizer, type QuantizerName, quantizerNames } from "./quantisation/quantizers.ts";
export { type SignalLevel, type SignalName, signalNames, signalTable } from "./signals/table.ts";
export {
  encLoss,
  encLossEpsilon,
  familySignals,
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
export { Submission } from "./run/submission.ts";
export {
  chooseFamily,
  decide,
  type Decision,
  defaultMethod,
  type ExtrasName,
  type Method,
  type MethodName,
  methodNames,
  methodOf,
  registerMethod,
  twoStages,
  type VariantScores,
} from "./decision/methods.ts";
export { type Classifier, fitClassifier } from "./decision/classifiers/fit.ts";
export { fitJoint, jointLabel, type JointModel, jointScores } from "./decision/classifiers/joint.ts";
export { compareMethods, type MethodResult } from "./evaluation/methods.ts";
export {
  type FeatureRow,
  featuresOf,
  type FeatureTable,
  featureTable,
  writeFeatureTable,
} from "./evidence/features.ts";
export { gatherLines, measureImages, type MeasuringOptions, type MeasuringSummary } from "./run/measure_images.ts";
