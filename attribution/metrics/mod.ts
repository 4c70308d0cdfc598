/** Metrics of detection and classification: pure functions of numbers and labels. */
export { bootstrapInterval, type BootstrapOptions, drawSamples, type Interval, type Samples } from "./bootstrap.ts";
export { bootstrapRoc } from "./bootstrap_roc.ts";
export { type ClusteredItem, clusterIntervals, type CountedStatistic } from "./cluster_bootstrap.ts";
export { accuracy, balancedAccuracy, type ConfusionMatrix, confusionMatrix, precision, recall } from "./confusion.ts";
export { accuracyAtCoverage, aurc, auroc, brier, type RiskCoverage, riskCoverage } from "./confidence.ts";
export { type IsotonicStep, isotonicSteps, pav } from "./isotonic.ts";
export {
  cllr,
  minCllr,
  type MisleadingShares,
  misleadingShares,
  tippett,
  type TippettCurve,
} from "./likelihood_ratio.ts";
export { clopperPearson, clusteredRate, type Rate } from "./proportion.ts";
export { meanAndDeviation, quantile } from "./quantile.ts";
export {
  calibrationError,
  equalMassBins,
  equalMassCalibrationError,
  type ReliabilityBin,
  reliabilityBins,
} from "./reliability.ts";
export { accuracyAtHalf, auc, type RocCurve, rocCurve, type RocOptions, tprAtFpr } from "./roc.ts";
export { scaleAndOrder, type Scores, type TwoGroups } from "./scores.ts";
