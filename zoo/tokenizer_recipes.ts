/**
 * The tokenizers of the zoo: sizes, seeds and training, as data.
 * Layers are a quarter and an eighth as wide as the official ones and see 64x64 pixels, so group norms have fewer groups.
 */
import type { VqvaeConfig } from "../models/var/config.ts";
import type { TokenizerRecipe } from "./tokenizers.ts";

/** RAR's: 64 tokens of 512 codes. */
const rar: TokenizerRecipe = {
  name: "maskgit_vq",
  network: {
    kind: "rar",
    config: {
      hiddenChannels: 16,
      channelMult: [1, 2, 4, 4],
      resBlocks: 1,
      zChannels: 32,
      codes: 512,
      resolution: 64,
      normGroups: 4,
    },
  },
  seed: 101,
  steps: 3000,
  batch: 16,
  lr: 2e-3,
  latentWeight: 1,
};

const firstConfig: VqvaeConfig = {
  ch: 16,
  chMult: [1, 2, 4, 4],
  resBlocks: 1,
  zChannels: 16,
  codes: 512,
  sharedPhi: 4,
  patchNums: [1, 2, 3, 4, 6, 8],
  resolution: 64,
  normGroups: 4,
};

/** What VAR's begins from: 130 tokens of 512 codes on six scales, which one hardly finds again in its images. */
const varFirst: TokenizerRecipe = {
  name: "vqvae_first",
  network: {
    kind: "var",
    config: firstConfig,
  },
  seed: 102,
  steps: 2400,
  batch: 16,
  lr: 2e-3,
  latentWeight: 1,
};

/** VAR's: 85 tokens of 256 codes on four scales, trained so that they can be read from its images. */
const varFamily: TokenizerRecipe = {
  ...varFirst,
  name: "vqvae",
  network: {
    kind: "var",
    config: { ...firstConfig, codes: 256, patchNums: [1, 2, 4, 8] },
  },
  seed: 104,
  steps: 1600,
  lr: 1.5e-3,
  init: "vqvae_first",
  readBack: { weight: 0.1, isotropyWeight: 0.1 },
};

/** That of the generator outside the model set: RAR's kind with other widths, more codes and its own seed. */
const other: TokenizerRecipe = {
  ...rar,
  name: "other_vq",
  network: {
    kind: "rar",
    config: {
      hiddenChannels: 16,
      channelMult: [1, 1, 2, 3],
      resBlocks: 1,
      zChannels: 24,
      codes: 384,
      resolution: 64,
      normGroups: 4,
    },
  },
  seed: 103,
  steps: 2000,
};

export const tokenizerRecipes = { rar, varFirst, var: varFamily, other } as const;
