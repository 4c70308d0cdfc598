/**
 * Operations of kernels and whole passes, by formula from their sizes: multiplications and additions of matrix
 * products, convolutions and attention, two per multiply-add. Norms, activations and softmax are not counted: their
 * cost is memory traffic, see kernel_work.ts.
 */
import type { LlamagenConfig, LlamagenTokenizerConfig } from "../models/llamagen/config.ts";
import type { RarConfig, RarTokenizerConfig } from "../models/rar/config.ts";
import { tokenCount, type VarConfig, type VqvaeConfig } from "../models/var/config.ts";

/** C[m, n] = A[m, k] B[k, n]. */
export function matmulFlops(m: number, n: number, k: number): number {
  return 2 * m * n * k;
}

/** A k x k convolution with `outH` x `outW` results; taps in the padding are counted. */
export function convFlops(outH: number, outW: number, cIn: number, cOut: number, k: number): number {
  return 2 * outH * outW * cOut * cIn * k * k;
}

/**
 * Scores and their product with the values, for the pairs that the mask lets through: `visible[i]` keys for query i.
 */
export function attentionFlops(heads: number, headDim: number, visible: readonly number[]): number {
  return 4 * heads * headDim * visible.reduce((sum, count) => sum + count, 0);
}

/** Visible keys per query when rows come in blocks and see their own block and all earlier ones. */
export function blockVisible(blocks: readonly number[]): number[] {
  let end = 0;
  return blocks.flatMap((size) => new Array<number>(size).fill(end += size));
}

/** Visible keys per query under a causal mask. */
export function causal(rows: number): number[] {
  return blockVisible(new Array<number>(rows).fill(1));
}

/**
 * Two 3x3 convolutions and, where the width changes, a 1x1 shortcut: of the result (MaskGIT-VQ) or the input (VQVAE).
 */
function resnetFlops(side: number, cIn: number, cOut: number, shortcutOf: "result" | "input"): number {
  const shortcut = cIn === cOut ? 0 : convFlops(side, side, shortcutOf === "result" ? cOut : cIn, cOut, 1);
  return convFlops(side, side, cIn, cOut, 3) + convFlops(side, side, cOut, cOut, 3) + shortcut;
}

/** The MaskGIT-VQ tokenizer's passes for one image, without quantisation. */
export function rarTokenizerFlops(config: RarTokenizerConfig): { encode: number; decode: number } {
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

/** Sizes that VAR's and LlamaGen's tokenizers have in common. */
type VqSizes = Pick<VqvaeConfig, "ch" | "chMult" | "resBlocks" | "zChannels" | "resolution">;

/** An encoder's and a decoder's passes for one image, `quantConv` operations of the layer between included in both. */
function vqFlops(
  { ch, chMult, resBlocks, zChannels, resolution }: VqSizes,
  quantConv: number,
): { encode: number; decode: number } {
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
  return { encode: encode + quantConv, decode: decode + quantConv };
}

/** Side of the latents. */
const latentSide = ({ resolution, chMult }: VqSizes) => resolution / 2 ** (chMult.length - 1);

/** The VQVAE's passes for one image (quant_conv and post_quant_conv included), without quantisation. */
export function vqvaeFlops(config: VqvaeConfig): { encode: number; decode: number } {
  const side = latentSide(config);
  return vqFlops(config, convFlops(side, side, config.zChannels, config.zChannels, 3));
}

/** LlamaGen's tokenizer likewise. */
export function llamagenTokenizerFlops(config: LlamagenTokenizerConfig): { encode: number; decode: number } {
  const side = latentSide(config);
  return vqFlops(config, convFlops(side, side, config.zChannels, config.codeChannels, 1));
}

/**
 * A training step for one image, given the encoder's forward pass: twice that again for the gradients of weights and of
 * what they are applied to, but no gradient of the image, which the first 3x3 convolution has from `width` channels.
 */
export function trainingFlops(encode: number, resolution: number, width: number): number {
  return 3 * encode - convFlops(resolution, resolution, 3, width, 3);
}

/** Attention of a block and its four linear maps (qkv, projection, and the two of the feed-forward part). */
function blockFlops(rows: number, d: number, inner: number, heads: number, visible: readonly number[]): number {
  return matmulFlops(rows, 4 * d + 2 * inner, d) + attentionFlops(heads, d / heads, visible);
}

/**
 * A RAR transformer: what one condition costs (modulation of every row), and one image's teacher-forced pass after it.
 */
export function rarFlops(config: RarConfig): { condition: number; image: number } {
  const { hiddenSize: d, layers, heads, intermediateSize, tokenCount: tokens, codes } = config;
  const rows = tokens + 2;
  return {
    condition: matmulFlops(rows, 6 * d * layers + 2 * d, d),
    image: layers * blockFlops(rows, d, intermediateSize, heads, causal(rows)) + matmulFlops(rows - 1, codes, d),
  };
}

/** A VAR transformer likewise; its modulation is one row per condition. */
export function varFlops(config: VarConfig): { condition: number; image: number } {
  const { depth, embedDim: d, heads, sharedAdaLn, patchNums, mlpRatio, codeChannels, codes } = config;
  const rows = tokenCount(patchNums);
  const visible = blockVisible(patchNums.map((pn) => pn * pn));
  return {
    condition: matmulFlops(1, 6 * d * (sharedAdaLn ? 1 : depth) + 2 * d, d),
    image: matmulFlops(rows - patchNums[0] ** 2, d, codeChannels) +
      depth * blockFlops(rows, d, mlpRatio * d, heads, visible) + matmulFlops(rows, codes, d),
  };
}

/** A LlamaGen transformer likewise; its condition is a row of a table. */
export function llamagenFlops(config: LlamagenConfig): { condition: number; image: number } {
  const { width, layers, heads, mlp, tokenCount: rows, codes } = config;
  const block = matmulFlops(rows, 4 * width + 3 * mlp, width) + attentionFlops(heads, width / heads, causal(rows));
  return { condition: 0, image: layers * block + matmulFlops(rows, codes, width) };
}
