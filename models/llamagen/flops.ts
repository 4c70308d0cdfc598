/** Operations of the LlamaGen family's networks (models/flops.ts says what counts). */
import { attentionFlops, causal, convFlops, matmulFlops, type TokenizerFlops, vqganFlops } from "../flops.ts";
import type { LlamagenConfig, LlamagenTokenizerConfig } from "./config.ts";

/** The VQ tokenizer's passes for one image, without quantisation. */
export function llamagenTokenizerFlops(config: LlamagenTokenizerConfig): TokenizerFlops {
  const { encode, decode } = vqganFlops(config), latent = config.resolution / 2 ** (config.chMult.length - 1);
  const project = convFlops(latent, latent, config.zChannels, config.codeChannels, 1);
  return { encode: encode + project, decode: decode + project };
}

/**
 * A transformer: a condition, which is a row of a table, and one image's teacher-forced pass over its first `tokens` tokens;
 * default all.
 */
export function llamagenFlops(
  config: LlamagenConfig,
  tokens = config.tokenCount,
): { condition: number; image: number } {
  const { width: d, layers, heads, mlp, codes } = config;
  const block = matmulFlops(tokens, 4 * d + 3 * mlp, d) + attentionFlops(heads, d / heads, causal(tokens));
  return { condition: 0, image: layers * block + matmulFlops(tokens, codes, d) };
}
