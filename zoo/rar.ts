/** The zoo's RAR networks: recipes of tokenizers and transformers as data, and how they are trained. */
import type { RarConfig, RarTokenizerConfig } from "../models/rar/config.ts";
import { tokenizerLoss } from "../models/rar/tokenizer_training.ts";
import { randomOrderShare, rarLoss, sampleOrders } from "../models/rar/training.ts";
import type { TokenizerRecipe, TransformerRecipe, ZooFamily } from "./family.ts";
import { classCount, transformerCourse } from "./course.ts";

/** RAR's: 64 tokens of 512 codes. */
export const rarTokenizer: TokenizerRecipe = {
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
    } satisfies RarTokenizerConfig,
  },
  seed: 101,
  steps: 3000,
  batch: 16,
  lr: 2e-3,
  latentWeight: 1,
};

/** That of the generator outside the model set: RAR's kind with other widths, more codes and its own seed. */
export const otherTokenizer: TokenizerRecipe = {
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
    } satisfies RarTokenizerConfig,
  },
  seed: 103,
  steps: 2000,
};

/** Which tokenizer a transformer's tokens are of. */
interface RarTokens {
  readonly tokenizer?: "rar" | "other";
  readonly recipe?: TokenizerRecipe;
}

/** Width and depth, [guidance, power, temperature] as the official variant of that name, and the course. */
export function rarTransformer(
  name: string,
  [hiddenSize, layers]: readonly [number, number],
  [guidance, power, temperature]: readonly [number, number, number],
  { seed, steps, lr }: Pick<TransformerRecipe, "seed" | "steps" | "lr">,
  { tokenizer = "rar", recipe = rarTokenizer }: RarTokens = {},
): TransformerRecipe {
  const { codes, channelMult, resolution } = recipe.network.config as RarTokenizerConfig;
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
      } satisfies RarConfig,
      sampler: { guidance, power, temperature },
    },
    seed,
    steps,
    batch: 64,
    lr,
    ...transformerCourse,
  };
}

export const rarTraining: ZooFamily = {
  size(config) {
    const { layers, hiddenSize } = config as RarConfig;
    return { depth: layers, width: hiddenSize };
  },
  transformerLoss: (device, weights, config, batch) => rarLoss(device, weights, config as RarConfig, batch),
  orders: (batch, tokenCount, progress, at) => sampleOrders(batch, tokenCount, randomOrderShare(progress), at),
  tokenizerLoss: (images, tokenizer, { network, latentWeight }, _, observe) =>
    tokenizerLoss(images, tokenizer.weights, network.config as RarTokenizerConfig, latentWeight, observe),
};
