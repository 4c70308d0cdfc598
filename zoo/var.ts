/** The zoo's VAR networks: recipes of tokenizers and transformers as data, and how they are trained. */
import { cast, equal, fromArray, mean, scope, type Tensor } from "../core/tensor/mod.ts";
import type { VarConfig, VqvaeConfig } from "../models/var/config.ts";
import type { VarImageTokenizer } from "../models/var/family.ts";
import { mixedPlaces, mixTokens, throughBytes } from "../models/var/read_back.ts";
import { varLoss } from "../models/var/training.ts";
import { vqvaeLoss } from "../models/var/vqvae_training.ts";
import { classCount, transformerCourse } from "./course.ts";
import type { TokenizerRecipe, TransformerRecipe, ZooFamily } from "./family.ts";

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
export const varFirstTokenizer: TokenizerRecipe = {
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
export const varTokenizer: TokenizerRecipe = {
  ...varFirstTokenizer,
  name: "vqvae",
  network: {
    kind: "var",
    config: { ...firstConfig, codes: 256, patchNums: [1, 2, 4, 8] } satisfies VqvaeConfig,
  },
  seed: 104,
  steps: 1600,
  lr: 1.5e-3,
  init: "vqvae_first",
  readBack: { weight: 0.1, isotropyWeight: 0.1 },
};

/** Width and depth, and the course. */
export function varTransformer(
  name: string,
  [embedDim, depth]: readonly [number, number],
  { seed, steps, lr }: Pick<TransformerRecipe, "seed" | "steps" | "lr">,
): TransformerRecipe {
  const { patchNums, codes, zChannels } = varTokenizer.network.config as VqvaeConfig;
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
      } satisfies VarConfig,
      // Of the codes as the official 900 of 4096.
      sampler: { guidance: 1.5, topK: Math.floor(codes * 900 / 4096), topP: 0.96 },
    },
    seed,
    steps,
    batch: 32,
    lr,
    ...transformerCourse,
  };
}

/** Share of equal tokens. */
const sameShare = (a: Tensor, b: Tensor) => mean(equal(cast(a, "f32"), cast(b, "f32")));

export const varTraining: ZooFamily = {
  size(config) {
    const { depth, embedDim } = config as VarConfig;
    return { depth, width: embedDim };
  },
  transformerLoss: (device, weights, config, { tokens, labels }, input) =>
    scope(() => {
      const inputs = input(fromArray(device, tokens, [labels.length, tokens.length / labels.length]));
      return varLoss(device, weights, config as VarConfig, { tokens, labels, input: inputs });
    }),
  tokenizerLoss(images, tokenizer, { network, latentWeight, readBack, seed, batch }, step, observe) {
    const config = network.config as VqvaeConfig;
    return vqvaeLoss(images, tokenizer.weights, (tokenizer as VarImageTokenizer).quantizer, config, {
      latentWeight,
      observe,
      readBack: readBack && { ...readBack, places: mixedPlaces(batch, config.patchNums, { seed, step }) },
    });
  },
  /** Share of the tokens that encoding the reconstruction gives back, as they are and mixed. */
  heldOutFigures(tokenizer, decoded, tokens, at) {
    const read = (images: Tensor) => tokenizer.quantize(tokenizer.encode(throughBytes(images))).tokens;
    const mixed = mixTokens(tokens, mixedPlaces(tokens.shape[0], tokenizer.patchNums, at));
    return {
      recovered: sameShare(tokens, read(decoded)),
      recoveredMixed: sameShare(mixed, read(tokenizer.decode(tokenizer.dequantize(mixed)))),
    };
  },
};
