/**
 * Generates images of any variant of a model set, with their tokens. `runGeneration` writes files; `Generator` draws
 * batches into memory.
 */
export type { GeneratedFiles, Provenance } from "./files.ts";
export {
  type GenerationEvents,
  type GenerationOptions,
  type GenerationSummary,
  runGeneration,
  type WrittenImage,
} from "./generate.ts";
export { type BatchOptions, type BatchSizes, type GeneratedImage, Generator, type Latent } from "./generator.ts";
export { planBatch, type PlannedSet } from "./memory.ts";
export { formatPair, type PairFile, pairPath, readPair } from "./pair_file.ts";
export { writePng } from "../attribution/images/png.ts";
export { chooseSampler, type ClassChoice, type SamplerOverrides, type Series } from "./settings.ts";
export type { Sampler } from "../models/draw_rule.ts";
