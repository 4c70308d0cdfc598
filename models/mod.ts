/**
 * Model families: their networks, their checkpoints, and sets of weights on disk. Nothing here knows what a label or a
 * verdict is.
 */
export * from "./checkpoint/mod.ts";
export type { DrawRule, Mixing, Sampler, SamplerSetting } from "./draw_rule.ts";
export type {
  Agreement,
  ByFamily,
  Condition,
  ConditionCost,
  EncodeOptions,
  Family,
  FamilyName,
  ImageTokenizer,
  OfficialVariant,
  ResidualCodes,
  TokenizerFacts,
  Variant,
  VariantFacts,
} from "./family.ts";
export type {
  FamilyTraining,
  OrderOptions,
  SeededStep,
  TokenBatch,
  TokenizerLossOptions,
  TransformerInTraining,
} from "./family_training.ts";
export type { TokenizerFlops, VariantFlops } from "./flops.ts";
export type { Activations, BytesByDevice, Footprint, PlannedDevice, StepActivations } from "./footprint.ts";
export type { InitRule } from "./init_rule.ts";
export type { LatentStatistics } from "./latent_statistics.ts";
export * from "./manifest.ts";
export {
  type CheckOptions as CheckSetOptions,
  type LoadTokenizerOptions,
  type ModelSet,
  type NetworkId,
  openModelSet,
} from "./model_set.ts";
export { withEncoder } from "./overlay.ts";
export { families, familyNamed, familyNames } from "./registry.ts";
export { type GenerateOptions, randomClass, seriesSeed, type Support } from "./sampling.ts";
export type { Quantised, ReadBackWeights, TokenizerLoss } from "./tokenizer_training.ts";
export { type LoadNetworkOptions, Weights, type WeightSpec, type WeightType } from "./weights.ts";
