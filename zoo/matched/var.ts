/**
 * VAR's networks in the recipe `matched`: 680 tokens of 4096 codes on the ten official scales. Images are half as wide
 * as the official ones, so that the tokenizer has one level fewer; its layers are an eighth as wide, with fewer groups
 * in group norms.
 */
import {
  type VarConfig,
  varDemoSampler,
  varTokenizer as officialTokenizer,
  type VqvaeConfig,
} from "../../models/var/config.ts";
import { type FamilyRecipes, type TokenizerRecipe, transformerCourse, type TransformerRecipe } from "../recipe.ts";
import { classCount } from "./classes.ts";

/** Trained as the official one is, without its perceptual network and its discriminator. */
const tokenizer: TokenizerRecipe<VqvaeConfig> = {
  name: "vqvae",
  network: {
    kind: "var",
    config: {
      ...officialTokenizer,
      ch: officialTokenizer.ch / 8,
      chMult: [1, 1, 2, 4],
      resBlocks: 1,
      resolution: 128,
      normGroups: 4,
    },
  },
  seed: 1102,
  steps: 1400,
  batch: 16,
  lr: 2e-3,
  latentWeight: 1,
  every: 200,
};

/** Depth, seed and steps of a transformer. */
interface VarVariantOptions {
  readonly depth: number;
  readonly width: number;
  readonly seed: number;
  readonly steps: number;
  readonly lr: number;
}

/** A transformer with heads, sampler and course as all have them. */
function varTransformer(
  name: string,
  { depth, width, seed, steps, lr }: VarVariantOptions,
): TransformerRecipe<VarConfig> {
  const { patchNums, codes, zChannels } = tokenizer.network.config;
  return {
    name,
    title: `matched ${name}`,
    tokenizer: "var",
    network: {
      kind: "var",
      config: {
        depth,
        embedDim: width,
        heads: 4,
        sharedAdaLn: false,
        attnL2Norm: true,
        classes: classCount,
        patchNums,
        mlpRatio: 4,
        codeChannels: zChannels,
        codes,
      },
      sampler: varDemoSampler,
    },
    seed,
    steps,
    batch: 8,
    lr,
    ...transformerCourse,
    every: 200,
  };
}

const twin = varTransformer("twin-var", { depth: 4, width: 64, seed: 1402, steps: 350, lr: 6e-3 });

/**
 * A transformer on the set's tokenizer that is none of its variants: the smallest size with another seed and sampler,
 * and half of the steps. Its images are outliers of the dataset.
 */
export const varTwin: TransformerRecipe<VarConfig> = {
  ...twin,
  network: { ...twin.network, sampler: { guidance: 3, topK: 4096, topP: 0.9 } },
};

/**
 * Its networks. Depths are a quarter of the official ones, widths about a sixteenth, and steps are in the proportion of the
 * official epochs (200, 250, 300, 350).
 */
export const varRecipes: FamilyRecipes = {
  tokenizers: { var: tokenizer },
  transformers: [
    varTransformer("var16", { depth: 4, width: 64, seed: 1301, steps: 700, lr: 6e-3 }),
    varTransformer("var20", { depth: 5, width: 80, seed: 1302, steps: 875, lr: 5e-3 }),
    varTransformer("var24", { depth: 6, width: 96, seed: 1303, steps: 1050, lr: 4e-3 }),
    varTransformer("var30", { depth: 7, width: 112, seed: 1304, steps: 1225, lr: 3e-3 }),
  ],
  inverse: { epochs: 16, batch: 16, lr: 1e-3, schedule: "cosine" },
};
