/**
 * Operations of kernels and of blocks that several families have, by formula from their sizes: multiplications and
 * additions of matrix products, convolutions and attention, two per multiply-add. Norms, activations and softmax are not
 * counted: their cost is memory traffic. Families have the formulas of their networks (models/<family>/flops.ts).
 */

/** Operations of a tokenizer's passes for one image, without quantisation. */
export interface TokenizerFlops {
  /** Images to latents. */
  readonly encode: number;
  /** Latents to images. */
  readonly decode: number;
}

/** Operations of a transformer. */
export interface VariantFlops {
  /** Of preparing one condition for the first `tokens` tokens; default all. */
  condition(tokens?: number): number;
  /** Of a teacher-forced pass of one image over its first `tokens` tokens, codes included; default all. */
  pass(tokens?: number): number;
}

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
export function resnetFlops(side: number, cIn: number, cOut: number, shortcutOf: "result" | "input"): number {
  const shortcut = cIn === cOut ? 0 : convFlops(side, side, shortcutOf === "result" ? cOut : cIn, cOut, 1);
  return convFlops(side, side, cIn, cOut, 3) + convFlops(side, side, cOut, cOut, 3) + shortcut;
}

/** Attention of a block and its four linear maps (qkv, projection, and the two of the feed-forward part). */
export function blockFlops(rows: number, d: number, inner: number, heads: number, visible: readonly number[]): number {
  return matmulFlops(rows, 4 * d + 2 * inner, d) + attentionFlops(heads, d / heads, visible);
}

/** What decides the operations of VQGAN's encoder and decoder, as VAR's and LlamaGen's tokenizers have them. */
export interface VqganSizes {
  readonly ch: number;
  readonly chMult: readonly number[];
  readonly resBlocks: number;
  readonly zChannels: number;
  readonly resolution: number;
}

/** Encoder and decoder of VQGAN for one image, with attention at the lowest resolution, without what is at the codes. */
export function vqganFlops({ ch, chMult, resBlocks, zChannels, resolution }: VqganSizes): TokenizerFlops {
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
  return { encode, decode };
}
