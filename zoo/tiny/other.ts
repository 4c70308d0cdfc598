/**
 * The generator outside the model set: RAR's architecture with other widths, another codebook and other
 * seeds. Its images are outliers of the dataset.
 */
import { rarTokenizer, rarTransformer } from "./rar.ts";

const tokenizer: typeof rarTokenizer = {
  ...rarTokenizer,
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

/** Its tokenizer and its transformer. */
export const otherRecipes = {
  tokenizer,
  transformer: rarTransformer(
    "other",
    {
      width: 72,
      depth: 3,
      sampler: { guidance: 4, power: 2, temperature: 1 },
      tokenizer: ["other", tokenizer],
    },
    { seed: 401, steps: 1500, lr: 8e-3 },
  ),
} as const;
