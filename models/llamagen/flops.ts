/** Operations of the LlamaGen family's networks (models/flops.ts says what counts). */
import { attentionFlops, causal, convFlops, matmulFlops, resnetFlops, type TokenizerFlops } from "../flops.ts";
import type { LlamagenConfig, LlamagenTokenizerConfig } from "./config.ts";

/** The VQ tokenizer's passes for one image, without quantisation. */
export function llamagenTokenizerFlops(config: LlamagenTokenizerConfig): TokenizerFlops {
  const { ch, chMult, resBlocks, zChannels, codeChannels, resolution } = config;
  const widths = chMult.map((m) => m * ch);
  const levels = widths.length, last = widths[levels - 1];
  const side = (i: number) => resolution / 2 ** i;
  const latent = side(levels - 1), rows = latent * latent;
  const block = (i: number, cIn: number, cOut: number) => resnetFlops(side(i), cIn, cOut, "input");
  // Single-head attention over all positions: q, k, v, scores and values, projection.
  const attention = matmulFlops(rows, 4 * last, last) + attentionFlops(1, last, new Array<number>(rows).fill(rows));
  const middle = 2 * block(levels - 1, last, last) + attention;

  let encode = convFlops(resolution, resolution, 3, ch, 3) + middle;
  let decode = convFlops(latent, latent, zChannels, last, 3) + middle;
  widths.forEach((width, i) => {
    encode += block(i, widths[i - 1] ?? ch, width) + (resBlocks - 1) * block(i, width, width);
    decode += block(i, widths[i + 1] ?? last, width) + resBlocks * block(i, width, width);
    if (i < levels - 1) encode += convFlops(side(i + 1), side(i + 1), width, width, 3);
    if (i > 0) decode += convFlops(side(i - 1), side(i - 1), width, width, 3);
  });
  encode += resBlocks * attention + convFlops(latent, latent, last, zChannels, 3);
  decode += (resBlocks + 1) * attention + convFlops(resolution, resolution, widths[0], 3, 3);
  const project = convFlops(latent, latent, zChannels, codeChannels, 1);
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
