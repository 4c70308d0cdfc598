/**
 * RAR's networks in the zoo. Layers are a quarter and an eighth as wide as the official ones and see 64x64 pixels, so
 * group norms have fewer groups.
 */
import type { RarConfig, RarSampler, RarTokenizerConfig } from "../../models/rar/config.ts";
import {
  type Course,
  type FamilyRecipes,
  type TokenizerRecipe,
  transformerCourse,
  type TransformerRecipe,
} from "../recipe.ts";
import { classCount } from "./classes.ts";

/** 64 tokens of 512 codes. */
export const rarTokenizer: TokenizerRecipe<RarTokenizerConfig> = {
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

/** A transformer's size and sampler, and the tokenizer whose tokens it predicts. */
interface RarVariantOptions {
  readonly width: number;
  readonly depth: number;
  readonly sampler: RarSampler;
  readonly tokenizer?: readonly [name: string, recipe: TokenizerRecipe<RarTokenizerConfig>];
}

/** A transformer with heads, classes and course as all have them. */
export function rarTransformer(
  name: string,
  { width, depth, sampler, tokenizer: [tokenizer, { network }] = ["rar", rarTokenizer] }: RarVariantOptions,
  { seed, steps, lr }: Course,
): TransformerRecipe<RarConfig> {
  const { codes, channelMult, resolution } = network.config;
  return {
    name,
    title: `tiny ${name}`,
    tokenizer,
    network: {
      kind: "rar",
      config: {
        hiddenSize: width,
        layers: depth,
        heads: 4,
        intermediateSize: 2 * width,
        tokenCount: (resolution / 2 ** (channelMult.length - 1)) ** 2,
        classes: classCount,
        codes,
        spareRows: 2,
      },
      sampler,
    },
    seed,
    steps,
    batch: 64,
    lr,
    ...transformerCourse,
  };
}

/**
 * A transformer on the set's tokenizer that is none of its variants: other width, depth and sampler, and it sees half
 * of the images without their class. Its images are outliers of the dataset.
 */
export const rarTwin: TransformerRecipe<RarConfig> = {
  ...rarTransformer(
    "twin-rar",
    { width: 56, depth: 3, sampler: { guidance: 4, power: 1, temperature: 1 } },
    { seed: 501, steps: 1200, lr: 8e-3 },
  ),
  dropLabel: 0.5,
};

/** Its networks. Samplers are those of the official variants of these names. */
export const rarRecipes: FamilyRecipes = {
  tokenizers: { rar: rarTokenizer },
  transformers: [
    rarTransformer(
      "rarb",
      { width: 64, depth: 2, sampler: { guidance: 16, power: 2.75, temperature: 1 } },
      { seed: 201, steps: 4000, lr: 8e-3 },
    ),
    rarTransformer(
      "rarl",
      { width: 64, depth: 4, sampler: { guidance: 15.5, power: 2.5, temperature: 1.02 } },
      { seed: 202, steps: 2000, lr: 8e-3 },
    ),
    rarTransformer(
      "rarxl",
      { width: 80, depth: 5, sampler: { guidance: 6.9, power: 1.5, temperature: 1.02 } },
      { seed: 203, steps: 1800, lr: 6e-3 },
    ),
    rarTransformer(
      "rarxxl",
      { width: 96, depth: 5, sampler: { guidance: 8, power: 1.2, temperature: 1.02 } },
      { seed: 204, steps: 1500, lr: 5e-3 },
    ),
  ],
  inverse: { epochs: 50, batch: 16, lr: 1e-3 },
};
