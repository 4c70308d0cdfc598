/**
 * VAR's networks in the zoo. Layers are narrower than the official ones and see 64x64 pixels, so group norms have fewer
 * groups. Its tokenizer is trained in two stages (zoo/README.md).
 */
import type { VarConfig, VqvaeConfig } from "../../models/var/config.ts";
import {
  type Course,
  type FamilyRecipes,
  type TokenizerRecipe,
  transformerCourse,
  type TransformerRecipe,
} from "../recipe.ts";
import { classCount } from "./classes.ts";

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

/** The first stage: 130 tokens of 512 codes on six scales, which one hardly finds again in their images. */
const firstTokenizer: TokenizerRecipe<VqvaeConfig> = {
  name: "vqvae_first",
  network: { kind: "var", config: firstConfig },
  seed: 102,
  steps: 2400,
  batch: 16,
  lr: 2e-3,
  latentWeight: 1,
};

/** The second stage: 85 tokens of 256 codes on four scales, trained so that they can be read from their images. */
const tokenizer: TokenizerRecipe<VqvaeConfig> = {
  ...firstTokenizer,
  name: "vqvae",
  network: { kind: "var", config: { ...firstConfig, codes: 256, patchNums: [1, 2, 4, 8] } },
  seed: 104,
  steps: 1600,
  lr: 1.5e-3,
  init: "vqvae_first",
  readBack: { weight: 0.1, isotropyWeight: 0.1 },
};

/** A transformer's size, and the tokenizer whose tokens it predicts: the set's when not given. */
interface VarVariantOptions {
  readonly width: number;
  readonly depth: number;
  readonly tokenizer?: readonly [name: string, recipe: TokenizerRecipe<VqvaeConfig>];
}

/** A transformer with heads, classes, sampler and course as all have them. */
function varTransformer(
  name: string,
  { width, depth, tokenizer: [tokenizerName, { network }] = ["var", tokenizer] }: VarVariantOptions,
  { seed, steps, lr }: Course,
): TransformerRecipe<VarConfig> {
  const { patchNums, codes, zChannels } = network.config;
  return {
    name,
    title: `tiny ${name}`,
    tokenizer: tokenizerName,
    network: {
      kind: "var",
      config: {
        depth,
        embedDim: width,
        heads: 4,
        sharedAdaLn: true,
        attnL2Norm: true,
        classes: classCount,
        patchNums,
        mlpRatio: 2,
        codeChannels: zChannels,
        codes,
      },
      // As many of the codes as the official 900 of 4096.
      sampler: { guidance: 1.5, topK: Math.floor(codes * 900 / 4096), topP: 0.96 },
    },
    seed,
    steps,
    batch: 32,
    lr,
    ...transformerCourse,
  };
}

const twin = varTransformer("twin-var", { width: 88, depth: 5 }, { seed: 502, steps: 1500, lr: 6e-3 });

/**
 * A transformer on the set's tokenizer that is none of its variants: other width, depth and sampler, and it sees half
 * of the images without their class. Its images are outliers of the dataset.
 */
export const varTwin: TransformerRecipe<VarConfig> = {
  ...twin,
  network: { ...twin.network, sampler: { guidance: 3, topK: 256, topP: 0.9 } },
  dropLabel: 0.5,
};

/**
 * A transformer on the tokens of the tokenizer's first stage, from which that of the set began. Its images are outliers
 * of the dataset.
 */
export const varAncestor: TransformerRecipe<VarConfig> = varTransformer(
  "ancestor-var",
  { width: 72, depth: 4, tokenizer: ["varFirst", firstTokenizer] },
  { seed: 402, steps: 1200, lr: 7e-3 },
);

/** Its networks. Guidance and the share of codes are the official samplers'. */
export const varRecipes: FamilyRecipes = {
  tokenizers: { varFirst: firstTokenizer, var: tokenizer },
  transformers: [
    varTransformer("var16", { width: 64, depth: 3 }, { seed: 301, steps: 2500, lr: 8e-3 }),
    varTransformer("var20", { width: 80, depth: 4 }, { seed: 302, steps: 2000, lr: 7e-3 }),
    varTransformer("var24", { width: 96, depth: 4 }, { seed: 303, steps: 1600, lr: 6e-3 }),
    varTransformer("var30", { width: 112, depth: 6 }, { seed: 304, steps: 1300, lr: 5e-3 }),
  ],
  inverse: { epochs: 20, batch: 16, lr: 1e-3 },
};
