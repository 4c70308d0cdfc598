/** Operations of the RAR family's networks (models/flops.ts says what counts). */
import { blockFlops, causal, convFlops, matmulFlops, resnetFlops, type TokenizerFlops } from "../flops.ts";
import type { RarConfig, RarTokenizerConfig } from "./config.ts";

/** The MaskGIT-VQ tokenizer's passes for one image, without quantisation. */
export function rarTokenizerFlops(config: RarTokenizerConfig): TokenizerFlops {
  const { hiddenChannels, channelMult, resBlocks, zChannels, resolution } = config;
  const widths = channelMult.map((m) => m * hiddenChannels);
  const levels = widths.length;
  const last = widths[levels - 1];
  const side = (i: number) => resolution / 2 ** i;
  const block = (i: number, cIn: number, cOut: number) => resnetFlops(side(i), cIn, cOut, "result");
  const middle = resBlocks * block(levels - 1, last, last);

  let encode = convFlops(resolution, resolution, 3, hiddenChannels, 3) + middle;
  let decode = convFlops(side(levels - 1), side(levels - 1), zChannels, last, 3) + middle;
  widths.forEach((width, i) => {
    encode += block(i, widths[i - 1] ?? hiddenChannels, width) + (resBlocks - 1) * block(i, width, width);
    decode += block(i, widths[i + 1] ?? last, width) + (resBlocks - 1) * block(i, width, width);
    if (i > 0) decode += convFlops(side(i - 1), side(i - 1), width, width, 3);
  });
  encode += convFlops(side(levels - 1), side(levels - 1), last, zChannels, 1);
  decode += convFlops(resolution, resolution, widths[0], 3, 3);
  return { encode, decode };
}

/**
 * A RAR transformer: what one condition costs (modulation of every row), and one image's teacher-forced pass after it,
 * for the first `tokens` tokens; default all.
 */
export function rarFlops(config: RarConfig, tokens = config.tokenCount): { condition: number; image: number } {
  const { hiddenSize: d, layers, heads, intermediateSize, codes } = config;
  // A class row goes before the tokens. All tokens are passed at once with a row that predicts none.
  const isWhole = tokens === config.tokenCount, rows = isWhole ? tokens + 2 : tokens + 1;
  return {
    condition: matmulFlops(rows, 6 * d * layers + 2 * d, d),
    image: layers * blockFlops(rows, d, intermediateSize, heads, causal(rows)) +
      matmulFlops(isWhole ? rows - 1 : tokens, codes, d),
  };
}
