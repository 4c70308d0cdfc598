/**
 * Sampling from a RAR transformer: token by token in raster order, with classifier-free guidance that grows along the
 * image. The tokenizer decodes the tokens. Source: bytedance/1d-tokenizer, modeling/rar.py, `generate`.
 */
import type { Tensor } from "../../core/tensor/mod.ts";
import { generateRaster, type RasterDraw } from "../raster.ts";
import type { GenerateOptions } from "../sampling.ts";
import type { RarSampler } from "./config.ts";
import { guidanceScales } from "./sampler.ts";
import type { RarTransformer } from "./transformer.ts";

/** How a sampler draws `n` tokens. */
export function drawOf({ temperature, ...guidance }: RarSampler, n: number): RasterDraw {
  return { factors: guidanceScales(guidance, n), temperature };
}

/** tokens[batch, N] (i32, raster order); dispose it when done. */
export function generateRar(
  transformer: RarTransformer,
  sampler: RarSampler,
  options: GenerateOptions,
): Promise<Tensor> {
  return generateRaster("generateRar", transformer, drawOf(sampler, transformer.config.tokenCount), options);
}
