/**
 * Sizes and sampler settings of the RAR family, as data.
 * Source: bytedance/1d-tokenizer, configs/training/generator/rar.yaml and README_RAR.md.
 */
import type { OfficialVariant } from "../family.ts";

export interface RarTokenizerConfig {
  readonly hiddenChannels: number;
  readonly channelMult: readonly number[];
  readonly resBlocks: number;
  readonly zChannels: number;
  readonly codes: number;
  readonly resolution: number;
  /** Groups of every group norm; 32 in the official code, fewer where layers are narrower than that. */
  readonly normGroups?: number;
}

export interface RarConfig {
  readonly hiddenSize: number;
  readonly layers: number;
  readonly heads: number;
  readonly intermediateSize: number;
  /** Tokens per image. */
  readonly tokenCount: number;
  readonly classes: number;
  readonly codes: number;
  /**
   * Rows of the position tables beyond the tokens; only two are ever read. The official code has 1024, and 100 for the
   * adaLN steps, which is what it means when not given.
   */
  readonly spareRows?: number;
}

/** Guidance scale and power of its cosine schedule, and the softmax temperature. */
export type RarSampler = Record<"guidance" | "power" | "temperature", number>;

/**
 * Other settings that people draw with: no guidance; the same guidance for all tokens, as in demos; a schedule that is
 * close to that of RAR-XL and RAR-XXL.
 */
export const rarOtherSettings: readonly Partial<RarSampler>[] = [
  { guidance: 0 },
  { guidance: 4, power: 0 },
  { guidance: 8, power: 1 },
];

/** The MaskGIT-VQ tokenizer shared by all variants (maskgit-vqgan-imagenet-f16-256). */
export const rarTokenizer: RarTokenizerConfig = {
  hiddenChannels: 128,
  channelMult: [1, 1, 2, 2, 4],
  resBlocks: 2,
  zChannels: 256,
  codes: 1024,
  resolution: 256,
};

function variant(
  label: string,
  title: string,
  [hiddenSize, layers, intermediateSize]: [number, number, number],
  [guidance, power, temperature]: [number, number, number],
): OfficialVariant<RarConfig> {
  return {
    label,
    title,
    config: { hiddenSize, layers, heads: 16, intermediateSize, tokenCount: 256, classes: 1000, codes: 1024 },
    sampler: { guidance, power, temperature },
  };
}

/** The official variants by size. */
export const rarVariants: readonly OfficialVariant<RarConfig>[] = [
  variant("rarb", "RAR-B", [768, 24, 3072], [16, 2.75, 1.0]),
  variant("rarl", "RAR-L", [1024, 24, 4096], [15.5, 2.5, 1.02]),
  variant("rarxl", "RAR-XL", [1280, 32, 5120], [6.9, 1.5, 1.02]),
  variant("rarxxl", "RAR-XXL", [1408, 40, 6144], [8.0, 1.2, 1.02]),
];
