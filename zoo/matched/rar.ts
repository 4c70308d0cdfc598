/**
 * RAR's networks in the recipe `matched`: 256 tokens of 1024 codes. Images are half as wide as the official ones, so
 * that the tokenizer has one level fewer; its layers and codes are an eighth as wide, with fewer groups in group norms.
 */
import {
  type RarConfig,
  type RarSampler,
  rarTokenizer as officialTokenizer,
  type RarTokenizerConfig,
} from "../../models/rar/config.ts";
import { type FamilyRecipes, type TokenizerRecipe, transformerCourse, type TransformerRecipe } from "../recipe.ts";
import { classCount } from "./classes.ts";

/** Trained as the official one is, without its perceptual network and its discriminator. */
const tokenizer: TokenizerRecipe<RarTokenizerConfig> = {
  name: "maskgit_vq",
  network: {
    kind: "rar",
    config: {
      ...officialTokenizer,
      hiddenChannels: officialTokenizer.hiddenChannels / 8,
      channelMult: [1, 2, 4, 4],
      resBlocks: 1,
      zChannels: officialTokenizer.zChannels / 8,
      resolution: 128,
      normGroups: 4,
    },
  },
  init: "tiny/maskgit_vq",
  seed: 1101,
  steps: 1200,
  batch: 8,
  lr: 1e-3,
  latentWeight: 1,
  every: 200,
};

/** Size, sampler, seed and steps of a transformer. */
interface RarVariantOptions {
  readonly layers: number;
  readonly width: number;
  readonly sampler: RarSampler;
  readonly seed: number;
  readonly steps: number;
  readonly lr: number;
}

/** A transformer with heads and course as all have them. */
function rarTransformer(
  name: string,
  { layers, width, sampler, seed, steps, lr }: RarVariantOptions,
): TransformerRecipe<RarConfig> {
  const { codes, channelMult, resolution } = tokenizer.network.config;
  return {
    name,
    title: `matched ${name}`,
    tokenizer: "rar",
    network: {
      kind: "rar",
      config: {
        hiddenSize: width,
        layers,
        heads: 4,
        intermediateSize: 4 * width,
        tokenCount: (resolution / 2 ** (channelMult.length - 1)) ** 2,
        classes: classCount,
        codes,
        spareRows: 2,
      },
      sampler,
    },
    seed,
    steps,
    batch: 16,
    lr,
    ...transformerCourse,
    every: 200,
  };
}

/**
 * A transformer on the set's tokenizer that is none of its variants: the smallest size with another seed and sampler,
 * and half of the steps. Its images are outliers of the dataset.
 */
export const rarTwin: TransformerRecipe<RarConfig> = rarTransformer("twin-rar", {
  layers: 4,
  width: 64,
  sampler: { guidance: 4, power: 1, temperature: 1 },
  seed: 1401,
  steps: 700,
  lr: 6e-3,
});

/** Its networks. Samplers are the official ones; layers are a sixth as many, widths about a twelfth. */
export const rarRecipes: FamilyRecipes = {
  tokenizers: { rar: tokenizer },
  transformers: [
    rarTransformer("rarb", {
      layers: 4,
      width: 64,
      sampler: { guidance: 16, power: 2.75, temperature: 1 },
      seed: 1201,
      steps: 1400,
      lr: 6e-3,
    }),
    rarTransformer("rarl", {
      layers: 4,
      width: 80,
      sampler: { guidance: 15.5, power: 2.5, temperature: 1.02 },
      seed: 1202,
      steps: 1400,
      lr: 5e-3,
    }),
    rarTransformer("rarxl", {
      layers: 5,
      width: 96,
      sampler: { guidance: 6.9, power: 1.5, temperature: 1.02 },
      seed: 1203,
      steps: 1400,
      lr: 4e-3,
    }),
    rarTransformer("rarxxl", {
      layers: 6,
      width: 108,
      sampler: { guidance: 8, power: 1.2, temperature: 1.02 },
      seed: 1204,
      steps: 1400,
      lr: 3e-3,
    }),
  ],
  inverse: { epochs: 24, batch: 16, lr: 1e-3, schedule: "cosine" },
};
