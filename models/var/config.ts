/**
 * Sizes and sampler settings of the VAR family, as data.
 * Source: FoundationVision/VAR, models/__init__.py (build_vae_var) and README.md.
 */
import type { OfficialVariant } from "../family.ts";

export interface VqvaeConfig {
  readonly ch: number;
  readonly chMult: readonly number[];
  readonly resBlocks: number;
  readonly zChannels: number;
  readonly codes: number;
  /** Number of Phi convolutions shared by the scales. */
  readonly sharedPhi: number;
  readonly patchNums: readonly number[];
  readonly resolution: number;
  /** Groups of every group norm; 32 in the official code, fewer where layers are narrower than that. */
  readonly normGroups?: number;
}

export interface VarConfig {
  readonly depth: number;
  readonly embedDim: number;
  readonly heads: number;
  readonly sharedAdaLn: boolean;
  readonly attnL2Norm: boolean;
  readonly classes: number;
  readonly patchNums: readonly number[];
  readonly mlpRatio: number;
  /** Channels of the tokenizer's codes. */
  readonly codeChannels: number;
  readonly codes: number;
}

/**
 * Guidance of the last scale, and the codes that may be drawn: the `topK` likeliest, of those the likeliest with a
 * share of `topP`.
 */
export type VarSampler = Record<"guidance" | "topK" | "topP", number>;

/** Other settings that people draw with: no guidance, and about two and four times the published one. */
export const varOtherSettings: readonly Partial<VarSampler>[] = [{ guidance: 0 }, { guidance: 3 }, { guidance: 6 }];

/** The settings of the official demonstration (FoundationVision/VAR, demo_sample.ipynb). */
export const varDemoSampler: VarSampler = { guidance: 4, topK: 900, topP: 0.95 };

const patchNums: readonly number[] = [1, 2, 3, 4, 5, 6, 8, 10, 13, 16];

/** The multi-scale VQVAE shared by all variants (vae_ch160v4096z32). */
export const varTokenizer: VqvaeConfig = {
  ch: 160,
  chMult: [1, 1, 2, 2, 4],
  resBlocks: 2,
  zChannels: 32,
  codes: 4096,
  sharedPhi: 4,
  patchNums,
  resolution: 256,
};

/** Width and heads follow from the depth: 64 d and d. */
function variant(depth: number): OfficialVariant<VarConfig> {
  return {
    label: `var${depth}`,
    title: `VAR-d${depth}`,
    config: {
      depth,
      embedDim: 64 * depth,
      heads: depth,
      sharedAdaLn: false,
      attnL2Norm: true,
      classes: 1000,
      patchNums,
      mlpRatio: 4,
      codeChannels: 32,
      codes: 4096,
    },
    sampler: { guidance: 1.5, topK: 900, topP: 0.96 },
  };
}

/** The official variants by depth. */
export const varVariants: readonly OfficialVariant<VarConfig>[] = [variant(16), variant(20), variant(24), variant(30)];

/** Number of tokens of all scales together. */
export function tokenCount(patchNums: readonly number[]): number {
  return patchNums.reduce((sum, pn) => sum + pn * pn, 0);
}
