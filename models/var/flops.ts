/** Operations of the VAR family's networks (models/flops.ts says what counts). */
import { blockFlops, blockVisible, convFlops, matmulFlops, type TokenizerFlops, vqganFlops } from "../flops.ts";
import type { VarConfig, VqvaeConfig } from "./config.ts";

/** The VQVAE's passes for one image (quant_conv and post_quant_conv included), without quantisation. */
export function vqvaeFlops(config: VqvaeConfig): TokenizerFlops {
  const { encode, decode } = vqganFlops(config), latent = config.resolution / 2 ** (config.chMult.length - 1);
  const quantConv = convFlops(latent, latent, config.zChannels, config.zChannels, 3);
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
