/** Likelihood of tokens under the variants of their family, with known or inferred classes. */
export {
  type Candidate,
  coarseRounds,
  coarseTokens,
  defaultInference,
  inferClasses,
  inferenceCost,
  inferenceOf,
  type InferenceRound,
  inferenceRounds,
  type InferenceSettings,
  type InferenceSizes,
  type InferOptions,
  type InferredClasses,
  passShare,
  type Start,
  type Thoroughness,
  weighClasses,
  type WeightedClass,
} from "./class_inference.ts";
export {
  logSumExp,
  mixedNames,
  mixSummaries,
  type Summaries,
  summarise,
  summaryNames,
  withOwnSampler,
} from "./summaries.ts";
export { type RowBlock, type ScorerOptions, tokenLogProbs, TokenScorer, type TokenScores } from "./token_scores.ts";
export { type ExtraScores, samplerWeights, VariantScorer, type VariantScorerOptions } from "./variant_scorer.ts";
