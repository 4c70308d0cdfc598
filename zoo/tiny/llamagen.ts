/**
 * LlamaGen's networks in the zoo. Layers are an eighth as wide as the official ones and see 64x64 pixels, so group
 * norms have fewer groups and tokenizers halve images three times, not four.
 */
import { feedForwardWidth, type LlamagenConfig, type LlamagenTokenizerConfig } from "../../models/llamagen/config.ts";
import {
  type Course,
  type FamilyRecipes,
  type TokenizerRecipe,
  transformerCourse,
  type TransformerRecipe,
} from "../recipe.ts";
import { classCount } from "./classes.ts";

/** 64 tokens of 512 codes of eight channels. */
const tokenizer: TokenizerRecipe<LlamagenTokenizerConfig> = {
  name: "vq_ds8",
  network: {
    kind: "llamagen",
    config: {
      ch: 16,
      chMult: [1, 2, 3, 4],
      resBlocks: 1,
      zChannels: 32,
      codes: 512,
      codeChannels: 8,
      resolution: 64,
      normGroups: 4,
    },
  },
  seed: 105,
  steps: 1000,
  batch: 16,
  lr: 2e-3,
  latentWeight: 1,
  every: 100,
};

/** A transformer's size. */
interface LlamagenVariantOptions {
  readonly width: number;
  readonly layers: number;
}

/** A transformer with heads, classes, sampler and course as all have them. */
function llamagenTransformer(
  name: string,
  { width, layers }: LlamagenVariantOptions,
  { seed, steps, lr }: Course,
): TransformerRecipe<LlamagenConfig> {
  const { codes, chMult, resolution } = tokenizer.network.config;
  return {
    name,
    title: `tiny ${name}`,
    tokenizer: "llamagen",
    network: {
      kind: "llamagen",
      config: {
        width,
        layers,
        heads: 4,
        mlp: feedForwardWidth(width, 32),
        tokenCount: (resolution / 2 ** (chMult.length - 1)) ** 2,
        classes: classCount,
        codes,
      },
      // As many of the codes as the official 2000 of 16384.
      sampler: { guidance: 4, interval: -1, temperature: 1, topK: Math.floor(codes * 2000 / 16384), topP: 1 },
    },
    seed,
    steps,
    batch: 32,
    lr,
    ...transformerCourse,
  };
}

/** Its networks. Guidance and the share of codes are those of the official demo. */
export const llamagenRecipes: FamilyRecipes = {
  tokenizers: { llamagen: tokenizer },
  transformers: [
    llamagenTransformer("llamagenb", { width: 48, layers: 2 }, { seed: 601, steps: 1500, lr: 8e-3 }),
    llamagenTransformer("llamagenl", { width: 64, layers: 3 }, { seed: 602, steps: 1200, lr: 7e-3 }),
    llamagenTransformer("llamagenxl", { width: 80, layers: 3 }, { seed: 603, steps: 4000, lr: 6e-3 }),
  ],
  inverse: { epochs: 24, batch: 16, lr: 1e-3 },
};
