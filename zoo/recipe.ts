/**
 * The zoo's transformers: sizes, seeds, training and sampler settings, as data. The tokenizers are in tokenizer_recipes.ts.
 * They are small stand-ins of the official architectures for images of 64x64 pixels, not the official models.
 */
import type { RarConfig, RarSampler, RarTokenizerConfig } from "../models/rar/config.ts";
import type { VarConfig, VarSampler, VqvaeConfig } from "../models/var/config.ts";
import { tokenizerRecipes } from "./tokenizer_recipes.ts";

/** Classes of the photographs that everything is trained on. */
export const classCount = 10;

/** A transformer to train, how, and how to draw from it. */
export interface TransformerRecipe {
  /** The label of its images, and its file name. */
  readonly name: string;
  readonly title: string;
  readonly tokenizer: keyof typeof tokenizerRecipes;
  readonly network: { readonly kind: "rar"; readonly config: RarConfig; readonly sampler: RarSampler } | {
    readonly kind: "var";
    readonly config: VarConfig;
    readonly sampler: VarSampler;
  };
  readonly seed: number;
  readonly steps: number;
  /** Images per step. */
  readonly batch: number;
  /** Highest learning rate; it rises to it over `warmup` steps and falls to a fiftieth along half a cosine. */
  readonly lr: number;
  readonly warmup: number;
  readonly weightDecay: number;
  /** Probability that an image loses its class. */
  readonly dropLabel: number;
}

function rarTokenizer(name: "rar" | "other"): RarTokenizerConfig {
  const { network } = tokenizerRecipes[name];
  if (network.kind !== "rar") throw new Error(`recipe: the tokenizer ${name} is not RAR's`);
  return network.config;
}

function varTokenizer(): VqvaeConfig {
  const { network } = tokenizerRecipes.var;
  if (network.kind !== "var") throw new Error("recipe: the tokenizer var is not VAR's");
  return network.config;
}

const training = { warmup: 100, weightDecay: 0.05, dropLabel: 0.1 };

/** Width and depth, [guidance, power, temperature] as the official variant of that name, and the course. */
function rar(
  name: string,
  [hiddenSize, layers]: readonly [number, number],
  [guidance, power, temperature]: readonly [number, number, number],
  { seed, steps, lr }: Pick<TransformerRecipe, "seed" | "steps" | "lr">,
  tokenizer: "rar" | "other" = "rar",
): TransformerRecipe {
  const { codes, channelMult, resolution } = rarTokenizer(tokenizer);
  return {
    name,
    title: `tiny ${name}`,
    tokenizer,
    network: {
      kind: "rar",
      config: {
        hiddenSize,
        layers,
        heads: 4,
        intermediateSize: 2 * hiddenSize,
        tokenCount: (resolution / 2 ** (channelMult.length - 1)) ** 2,
        classes: classCount,
        codes,
        spareRows: 2,
      },
      sampler: { guidance, power, temperature },
    },
    seed,
    steps,
    batch: 64,
    lr,
    ...training,
  };
}

function varVariant(
  name: string,
  [embedDim, depth]: readonly [number, number],
  { seed, steps, lr }: Pick<TransformerRecipe, "seed" | "steps" | "lr">,
): TransformerRecipe {
  const { patchNums, codes, zChannels } = varTokenizer();
  return {
    name,
    title: `tiny ${name}`,
    tokenizer: "var",
    network: {
      kind: "var",
      config: {
        depth,
        embedDim,
        heads: 4,
        sharedAdaLn: true,
        attnL2Norm: true,
        classes: classCount,
        patchNums,
        mlpRatio: 2,
        codeChannels: zChannels,
        codes,
      },
      // Of the codes as the official 900 of 4096.
      sampler: { guidance: 1.5, topK: Math.floor(codes * 900 / 4096), topP: 0.96 },
    },
    seed,
    steps,
    batch: 32,
    lr,
    ...training,
  };
}

/** The eight variants of the model set, and the generator that stays outside of it. */
export const transformerRecipes: readonly TransformerRecipe[] = [
  rar("rarb", [64, 2], [16, 2.75, 1.0], { seed: 201, steps: 4000, lr: 8e-3 }),
  rar("rarl", [64, 4], [15.5, 2.5, 1.02], { seed: 202, steps: 2000, lr: 8e-3 }),
  rar("rarxl", [80, 5], [6.9, 1.5, 1.02], { seed: 203, steps: 1800, lr: 6e-3 }),
  rar("rarxxl", [96, 5], [8.0, 1.2, 1.02], { seed: 204, steps: 1500, lr: 5e-3 }),
  varVariant("var16", [64, 3], { seed: 301, steps: 2500, lr: 8e-3 }),
  varVariant("var20", [80, 4], { seed: 302, steps: 2000, lr: 7e-3 }),
  varVariant("var24", [96, 4], { seed: 303, steps: 1600, lr: 6e-3 }),
  varVariant("var30", [112, 6], { seed: 304, steps: 1300, lr: 5e-3 }),
  rar("other", [72, 3], [4, 2, 1.0], { seed: 401, steps: 1500, lr: 8e-3 }, "other"),
];

/** Throws naming the recipes there are. */
export function transformerRecipe(name: string): TransformerRecipe {
  const found = transformerRecipes.find((recipe) => recipe.name === name);
  if (!found) {
    throw new Error(`no transformer is called ${name}; there are ${transformerRecipes.map((r) => r.name).join(", ")}`);
  }
  return found;
}

export { tokenizerRecipes };
