/** The networks, their checkpoints and model sets. */
export * from "./checkpoint/mod.ts";
export type { Condition, Family, FamilyName, Variant } from "./family.ts";
export * from "./manifest.ts";
export {
  type RarConfig,
  type RarSampler,
  rarTokenizer,
  type RarTokenizerConfig,
  type RarVariantRow,
  rarVariants,
} from "./rar/config.ts";
export { loadRarFamily, loadRarVariant, RarFamily, RarVariant } from "./rar/family.ts";
export { generateRar } from "./rar/generate.ts";
export { guidanceScales } from "./rar/sampler.ts";
export { type RarCondition, type RarState, RarTransformer } from "./rar/transformer.ts";
export {
  type VarConfig,
  type VarSampler,
  varTokenizer,
  type VarVariantRow,
  varVariants,
  type VqvaeConfig,
} from "./var/config.ts";
export { loadVarFamily, loadVarVariant, VarFamily, VarVariant } from "./var/family.ts";
export { generateVar } from "./var/generate.ts";
export { MultiScaleQuantizer, phiIndices } from "./var/quantizer.ts";
export { guidanceStrengths } from "./var/sampler.ts";
export { type VarCondition, type VarState, VarTransformer } from "./var/transformer.ts";
export { type GenerateOptions, randomClass, seriesSeed, TokenDraw, TokenNoise } from "./sampling.ts";
export { type LoadOptions, loadWeights, Weights, type WeightSpec } from "./weights.ts";
