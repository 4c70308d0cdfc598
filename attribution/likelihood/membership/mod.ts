/** Membership features, and scores from the difference of conditional and unconditional likelihood. */
export {
  type FeatureKind,
  type FeatureOptions,
  membershipFeatureNames,
  membershipFeatures,
  membershipTable,
  membershipTableNames,
} from "./features.ts";
export { icas, type IcasOptions, meanDifference, meanIcas } from "./icas.ts";
export { lossFeatureNames, type LossFeatureOptions, lossFeatures } from "./loss_features.ts";
export {
  type LogitRows,
  membershipRows,
  statisticNames,
  statisticsOf,
  type TokenStatistics,
  tokenStatistics,
  unpackStatistics,
} from "./statistics.ts";
export { zlibLength } from "./zlib_length.ts";
