/**
 * Sampling from a LlamaGen transformer: token by token in raster order, with classifier-free guidance by a constant
 * factor. The tokenizer decodes the tokens. Source: FoundationVision/LlamaGen, autoregressive/models/generate.py.
 */
import type { Tensor } from "../../core/tensor/mod.ts";
import { generateRaster, type RasterDraw } from "../raster.ts";
import type { GenerateOptions } from "../sampling.ts";
import type { LlamagenConfig, LlamagenSampler } from "./config.ts";
import { guidanceFactors } from "./sampler.ts";
import type { LlamagenTransformer } from "./transformer.ts";

/** The official code divides logits by no less than this. */
export const leastTemperature = 1e-5;

/** How a sampler draws. */
export function drawOf(
  { temperature, topK, topP, ...guidance }: LlamagenSampler,
  { tokenCount, codes }: Pick<LlamagenConfig, "tokenCount" | "codes">,
): RasterDraw {
  return {
    factors: guidanceFactors(guidance, tokenCount),
    temperature: Math.max(temperature, leastTemperature),
    support: { topK: Math.min(topK, codes), topP },
  };
}

/** tokens[batch, N] (i32, raster order); dispose it when done. */
export function generateLlamagen(
  transformer: LlamagenTransformer,
  sampler: LlamagenSampler,
  options: GenerateOptions,
): Promise<Tensor> {
  return generateRaster("generateLlamagen", transformer, drawOf(sampler, transformer.config), options);
}
