/** Operations of the VAR family's networks (models/flops.ts says what counts). */
import {
  attentionFlops,
  blockFlops,
  blockVisible,
  convFlops,
  matmulFlops,
  resnetFlops,
  type TokenizerFlops,
} from "../flops.ts";
import type { VarConfig, VqvaeConfig } from "./config.ts";

/** The VQVAE's passes for one image (quant_conv and post_quant_conv included), without quantisation. */
export function vqvaeFlops(config: VqvaeConfig): TokenizerFlops {
  const { ch, chMult, resBlocks, zChannels, resolution } = config;
  const widths = chMult.map((m) => m * ch);
  const levels = widths.length;
  const last = widths[levels - 1];
  const side = (i: number) => resolution / 2 ** i;
  const latent = side(levels - 1);
  const rows = latent * latent;
  const block = (i: number, cIn: number, cOut: number) => resnetFlops(side(i), cIn, cOut, "input");
  // Single-head attention over all positions: qkv, scores and values, projection.
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
  const quantConv = convFlops(latent, latent, zChannels, zChannels, 3);
  return { encode: encode + quantConv, decode: decode + quantConv };
}

/**
 * A VAR transformer: what one condition costs, whose modulation is one row, and one image's teacher-forced pass after it,
 * over its first scales; default all.
 */
export function varFlops(
  config: VarConfig,
  scales = config.patchNums.length,
): { condition: number; image: number } {
  const { depth, embedDim: d, heads, sharedAdaLn, mlpRatio, codeChannels, codes } = config;
  const blocks = config.patchNums.slice(0, scales).map((pn) => pn * pn);
  const rows = blocks.reduce((sum, count) => sum + count, 0);
  return {
    condition: matmulFlops(1, 6 * d * (sharedAdaLn ? 1 : depth) + 2 * d, d),
    image: matmulFlops(rows - blocks[0], d, codeChannels) +
      depth * blockFlops(rows, d, mlpRatio * d, heads, blockVisible(blocks)) + matmulFlops(rows, codes, d),
  };
}
