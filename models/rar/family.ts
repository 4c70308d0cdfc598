/**
 * The RAR family: its row of the registry, and its tokenizer and transformers behind the common interfaces.
 * The networks themselves are in tokenizer.ts and transformer.ts.
 */
import * as v from "npm:valibot@1.5.0";
import { bytesPerElement, type Device, scope, slice, type Tensor } from "../../core/tensor/mod.ts";
import type { TensorSource } from "../checkpoint/source.ts";
import { requireSettings, type Sampler } from "../draw_rule.ts";
import type { EncodeOptions, Family } from "../family.ts";
import { convolutionalActivations, encoderStep, transformerActivations } from "../footprint.ts";
import { anyPrefix, type RasterDraw, RasterTokenizer, RasterVariant } from "../raster.ts";
import { countsTo, countTo, maxima, positive } from "../schema.ts";
import { type LoadNetworkOptions, loadWeights, type Weights } from "../weights.ts";
import { type RarConfig, rarOtherSettings, rarTokenizer, type RarTokenizerConfig, rarVariants } from "./config.ts";
import { rarFlops, rarTokenizerFlops } from "./flops.ts";
import { drawOf } from "./generate.ts";
import { decode, dequantize, encode, quantize, tokenizerSpecs } from "./tokenizer.ts";
import { rarTraining } from "./training.ts";
import { type RarCondition, RarTransformer, transformerSpecs } from "./transformer.ts";

const samplerSettings = ["guidance", "power", "temperature"] as const;

/** Buffers of the official checkpoints that are computed here. */
const buffers = [/(^|\.)attn_mask$/];

/** Side of the square of tokens. */
function tokenSide({ resolution, channelMult }: RarTokenizerConfig): number {
  return resolution / 2 ** (channelMult.length - 1);
}

export class RarImageTokenizer extends RasterTokenizer<RarTokenizerConfig> {
  readonly family = "rar";
  readonly valueRange = [0, 1] as const;

  constructor(weights: Weights, config: RarTokenizerConfig) {
    super(weights, config, rar.tokenizerFacts(config));
  }

  /** The codebook, [codes, channels]. */
  get codebook(): Tensor {
    return this.weights.get("quantize.embedding.weight");
  }

  encode(images: Tensor, options: EncodeOptions = {}): Tensor {
    return encode(images, this.weights, this.config, options);
  }

  quantize(f: Tensor): { tokens: Tensor; fHat: Tensor } {
    return scope(() => {
      const tokens = quantize(f, this.weights);
      return { tokens, fHat: dequantize(tokens, this.weights) };
    });
  }

  dequantize(tokens: Tensor): Tensor {
    return dequantize(tokens, this.weights);
  }

  decode(fHat: Tensor): Tensor {
    return decode(fHat, this.weights, this.config);
  }
}

/** Its adaLN tables have a row per token. */
const conditionCost = { perToken: true, work: 1, memory: 2 } as const;

/** A RAR transformer as a variant: tokens[batch, N] -> logits of those N tokens. */
export class RarVariant extends RasterVariant<RarCondition, RarTransformer> {
  readonly family = "rar";
  /** adaLN tables have a row per token; one row more than the tokens, and one for the label. */
  readonly conditionCost = conditionCost;

  constructor(device: Device, weights: Weights, config: RarConfig, name: string) {
    super(new RarTransformer(device, weights, config), name, weights.bytes);
  }

  condition(labels: readonly (number | null)[], tokens?: number): RarCondition {
    return this.transformer.condition(labels, tokens === undefined ? undefined : tokens + 1);
  }

  logits(input: Tensor, condition: RarCondition): Tensor {
    return scope(() => slice(this.transformer.logits(input, condition), 1, 0, this.tokenCount));
  }

  protected drawOf(sampler: Sampler): RasterDraw {
    return drawOf(requireSettings(sampler, samplerSettings, this.name), this.tokenCount);
  }
}

/** Loads the tokenizer. Throws naming missing, unused or mis-shaped tensors. */
export async function loadRarTokenizer(
  device: Device,
  source: TensorSource,
  config: RarTokenizerConfig,
  options: LoadNetworkOptions = {},
): Promise<RarImageTokenizer> {
  const weights = await loadWeights(device, source, tokenizerSpecs(config), {
    ...options,
    what: "MaskGIT-VQ tokenizer",
  });
  return new RarImageTokenizer(weights, config);
}

/** Loads a transformer. When the file fits another official variant, the error says which. */
export async function loadRarVariant(
  device: Device,
  source: TensorSource,
  config: RarConfig,
  name: string,
  options: LoadNetworkOptions = {},
): Promise<RarVariant> {
  const weights = await loadWeights(device, source, transformerSpecs(config), {
    ...options,
    what: `RAR transformer ${name}`,
    ignored: buffers,
    alternatives: new Map(rarVariants.map((row) => [row.title, transformerSpecs(row.config)])),
  });
  return new RarVariant(device, weights, config, name);
}

/** The row of the registry. */
export const rar: Family<RarTokenizerConfig, RarConfig> = {
  name: "rar",
  title: "RAR",
  tokenizerSchema: v.strictObject({
    hiddenChannels: countTo(maxima.width),
    channelMult: countsTo(maxima.multiplier, maxima.resolutions),
    resBlocks: countTo(maxima.blocks),
    zChannels: countTo(maxima.width),
    codes: countTo(maxima.codes),
    resolution: countTo(maxima.resolution),
    normGroups: v.optional(countTo(maxima.width)),
  }),
  variantSchema: v.strictObject({
    hiddenSize: countTo(maxima.width),
    layers: countTo(maxima.depth),
    heads: countTo(maxima.width),
    intermediateSize: countTo(4 * maxima.width),
    tokenCount: countTo(maxima.side ** 2),
    classes: countTo(maxima.classes),
    codes: countTo(maxima.codes),
    spareRows: v.optional(v.pipe(countTo(maxima.side ** 2), v.minValue(2, "at least 2"))),
  }),
  samplerSchema: v.strictObject({ guidance: v.number(), power: v.number(), temperature: positive }),
  samplerSettings,
  otherSettings: rarOtherSettings,
  officialTokenizer: rarTokenizer,
  officialVariants: rarVariants,
  buffers,
  encoderModules: ["encoder."],
  encoderRecipe: { epochs: 50, batch: 8, lr: 5e-4 },
  training: rarTraining,
  tokenizerSpecs,
  variantSpecs: transformerSpecs,
  tokenizerFacts(config) {
    const { resolution, channelMult, hiddenChannels, resBlocks, codes, zChannels } = config;
    const side = tokenSide(config);
    const widths = channelMult.map((m) => m * hiddenChannels);
    return {
      imageSize: resolution,
      tokenCount: side ** 2,
      codes,
      channels: zChannels,
      patchNums: [side],
      width: widths[0],
      flops: rarTokenizerFlops(config),
      activations: convolutionalActivations(resolution, widths, resBlocks),
      training: encoderStep(resolution, widths, resBlocks),
    };
  },
  /** The condition has adaLN tables for every row of every block. */
  variantFacts(config) {
    const { hiddenSize: width, layers, intermediateSize: mlp, codes, classes, tokenCount } = config;
    const rows = tokenCount + 2;
    const element = bytesPerElement("f32");
    const { perImage, largestTensor } = transformerActivations({ rows, width, mlp, codes, tensors: 14, logits: 2 });
    return {
      classes,
      tokenCount,
      codes,
      patchNums: [Math.sqrt(tokenCount)],
      prefixes: anyPrefix(tokenCount),
      conditionCost,
      width,
      flops: {
        condition: (tokens) => rarFlops(config, tokens).condition,
        pass: (tokens) => rarFlops(config, tokens).image,
      },
      activations: { condition: rows * (6 * layers + 2 + 3) * width * element, perImage, largestTensor },
      generation: {
        cacheBytes: 2 * layers * rows * width * element,
        steps: { cpu: perImage.cpu, webgpu: perImage.webgpu / rows }, // all steps have one row
        largestTensor: 6 * rows * width * element, // a block's adaLN table has a row per token
      },
    };
  },
  tokenizerAgreements: () => [],
  variantAgreements: (tokenizer, { tokenCount, codes, hiddenSize, heads }) => [
    { field: "tokenCount", what: "the tokenizer's", expected: tokenSide(tokenizer) ** 2, got: tokenCount },
    { field: "codes", what: "the tokenizer's", expected: tokenizer.codes, got: codes },
    { field: "hiddenSize", what: "a multiple of heads, remainder", expected: 0, got: hiddenSize % heads },
  ],
  loadTokenizer: loadRarTokenizer,
  loadVariant: loadRarVariant,
};
