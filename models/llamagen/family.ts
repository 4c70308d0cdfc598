/**
 * The LlamaGen family: its rows of the registry, and its tokenizer and transformers behind the common interfaces. Its
 * variants for images of 384 pixels are a row of their own: they have the same tokenizer, but other grids of tokens, and
 * an image must be looked at in the size that a variant generates.
 */
import * as v from "npm:valibot@1.5.0";
import { bytesPerElement, type Device, keep, scope, type Tensor } from "../../core/tensor/mod.ts";
import { requireSettings, type Sampler } from "../draw_rule.ts";
import type { EncodeOptions, Family, FamilyName, TokenizerFacts } from "../family.ts";
import { convolutionalActivations, encoderStep, transformerActivations } from "../footprint.ts";
import { anyPrefix, type RasterDraw, RasterTokenizer, RasterVariant } from "../raster.ts";
import { countsTo, countTo, maxima, positive } from "../schema.ts";
import { type LoadNetworkOptions, loadWeights, type Weights } from "../weights.ts";
import type { Stranger } from "../checkpoint/load.ts";
import {
  type LlamagenConfig,
  llamagenOtherSettings,
  llamagenTokenizer,
  type LlamagenTokenizerConfig,
  llamagenVariants,
} from "./config.ts";
import { llamagenFlops, llamagenTokenizerFlops } from "./flops.ts";
import { drawOf } from "./generate.ts";
import { decode, encode, lookUp, quantize, tokenizerSpecs, unitCodes } from "./tokenizer.ts";
import { llamagenTraining } from "./training.ts";
import { type LlamagenCondition, LlamagenTransformer, transformerSpecs } from "./transformer.ts";

const samplerSettings = ["guidance", "interval", "temperature", "topK", "topP"] as const;

/** Usage statistics of the codes, and the rotary table, which older checkpoints hold. */
const buffers = [/(^|\.)codebook_used$/, /(^|\.)freqs_cis$/];

/** Its authors' checkpoints that are none of its networks. */
const strangers: readonly Stranger[] = [
  {
    tensor: /(^|\.)cls_embedding\.(uncond_embedding|cap_proj\.)/,
    what: "a text-conditional transformer (t2i); expected a class-conditional one, such as c2i_B_256.pt",
  },
];

/** Side of the square of tokens. */
function tokenSide({ resolution, chMult }: LlamagenTokenizerConfig): number {
  return resolution / 2 ** (chMult.length - 1);
}

/** What is known of a tokenizer without its weights. */
function tokenizerFacts(config: LlamagenTokenizerConfig): TokenizerFacts {
  const { chMult, ch, resBlocks, codes, codeChannels } = config, side = tokenSide(config);
  const widths = chMult.map((m) => m * ch);
  return {
    imageSize: config.resolution,
    tokenCount: side ** 2,
    codes,
    channels: codeChannels,
    patchNums: [side],
    width: widths[0],
    flops: llamagenTokenizerFlops(config),
    // The decoder has one block more per level.
    activations: convolutionalActivations(config.resolution, widths, resBlocks + 1),
    training: encoderStep(config.resolution, widths, resBlocks),
  };
}

export class LlamagenImageTokenizer extends RasterTokenizer<LlamagenTokenizerConfig> {
  readonly valueRange = [-1, 1] as const;
  #codebook: Tensor | undefined;

  /** `isShared` says that the weights belong to another tokenizer. */
  constructor(
    weights: Weights,
    config: LlamagenTokenizerConfig,
    readonly family: FamilyName = "llamagen",
    readonly isShared = false,
  ) {
    super(weights, config, tokenizerFacts(config));
  }

  /** The codebook, [codes, channels], its rows of length 1 as they are when first asked for. */
  get codebook(): Tensor {
    return this.#codebook ??= keep(scope(() => unitCodes(this.weights)));
  }

  encode(images: Tensor, options: EncodeOptions = {}): Tensor {
    const [, height, width] = images.shape, side = this.imageSize;
    if (height !== side || width !== side) {
      throw new RangeError(
        `${this.family}: expected images of ${side}x${side} pixels, got ${height}x${width}; ` +
          "variants for 256 and for 384 pixels are families of their own",
      );
    }
    return encode(images, this.weights, this.config, options);
  }

  quantize(f: Tensor): { tokens: Tensor; fHat: Tensor } {
    return scope(() => {
      const tokens = quantize(f, this.weights);
      return { tokens, fHat: lookUp(tokens, this.weights).reshape(...f.shape) };
    });
  }

  dequantize(tokens: Tensor): Tensor {
    const side = Math.sqrt(tokens.shape[1]);
    return scope(() => lookUp(tokens, this.weights).reshape(-1, side, side, this.config.codeChannels));
  }

  decode(fHat: Tensor): Tensor {
    return decode(fHat, this.weights, this.config);
  }

  override dispose(): void {
    this.#codebook?.dispose();
    if (!this.isShared) super.dispose();
  }
}

/** A condition is a row of a table. */
const conditionCost = { perToken: false, work: 0, memory: 0 } as const;

/** A LlamaGen transformer as a variant: tokens[batch, N] -> logits of those N tokens. */
export class LlamagenVariant extends RasterVariant<LlamagenCondition, LlamagenTransformer> {
  readonly conditionCost = conditionCost;

  constructor(
    device: Device,
    weights: Weights,
    config: LlamagenConfig,
    name: string,
    readonly family: FamilyName = "llamagen",
  ) {
    super(new LlamagenTransformer(device, weights, config), name, weights.bytes);
  }

  condition(labels: readonly (number | null)[]): LlamagenCondition {
    return this.transformer.condition(labels);
  }

  logits(input: Tensor, condition: LlamagenCondition): Tensor {
    return this.transformer.logits(input, condition);
  }

  protected drawOf(sampler: Sampler): RasterDraw {
    return drawOf(requireSettings(sampler, samplerSettings, this.name), this.transformer.config);
  }
}

/** A row of the registry: the variants for images of this side, whose labels end with `suffix`. */
function llamagenFamily(
  name: FamilyName,
  title: string,
  resolution: 256 | 384,
  suffix: string,
): Family<LlamagenTokenizerConfig, LlamagenConfig> {
  const officialVariants = llamagenVariants(resolution, suffix);
  return {
    name,
    title,
    tokenizerSchema: v.strictObject({
      ch: countTo(maxima.width),
      chMult: countsTo(maxima.multiplier, maxima.resolutions),
      resBlocks: countTo(maxima.blocks),
      zChannels: countTo(maxima.width),
      codes: countTo(maxima.codes),
      codeChannels: countTo(maxima.width),
      resolution: countTo(maxima.resolution),
      normGroups: v.optional(countTo(maxima.width)),
    }),
    variantSchema: v.strictObject({
      width: countTo(maxima.width),
      layers: countTo(maxima.depth),
      heads: countTo(maxima.width),
      mlp: countTo(4 * maxima.width),
      tokenCount: countTo(maxima.side ** 2),
      classes: countTo(maxima.classes),
      codes: countTo(maxima.codes),
    }),
    samplerSchema: v.strictObject({
      guidance: v.number(),
      interval: v.pipe(v.number(), v.integer("a whole number")),
      temperature: v.pipe(v.number(), v.minValue(0, "at least 0")),
      topK: v.pipe(v.number(), v.integer("a whole number"), v.minValue(0, "at least 0")),
      topP: v.pipe(positive, v.maxValue(1, "at most 1")),
    }),
    samplerSettings,
    otherSettings: llamagenOtherSettings,
    officialTokenizer: llamagenTokenizer(resolution),
    officialVariants,
    buffers,
    strangers,
    encoderModules: ["encoder."],
    passedModules: ["quant_conv."],
    encoderRecipe: { epochs: 25, batch: 8, lr: 1e-5 },
    training: llamagenTraining,
    tokenizerSpecs,
    variantSpecs: transformerSpecs,
    tokenizerFacts,
    variantFacts(config) {
      const { width, layers, mlp, codes, classes, tokenCount: rows } = config;
      const element = bytesPerElement("f32");
      // A block holds the gate and the other half of the feed-forward layer at once.
      const sizes = { rows, width, mlp: 2 * mlp, codes, tensors: 14, logits: 1 };
      const { perImage, largestTensor } = transformerActivations(sizes);
      return {
        classes,
        tokenCount: rows,
        codes,
        patchNums: [Math.sqrt(rows)],
        prefixes: anyPrefix(rows),
        conditionCost,
        width,
        flops: { condition: () => 0, pass: (tokens) => llamagenFlops(config, tokens).image },
        activations: { condition: width * element, perImage, largestTensor },
        generation: {
          cacheBytes: 2 * layers * (rows + 1) * width * element,
          steps: { cpu: perImage.cpu, webgpu: perImage.webgpu / rows }, // all steps have one row
          largestTensor: 0,
        },
      };
    },
    tokenizerAgreements: () => [],
    variantAgreements: (tokenizer, { tokenCount, codes, width, heads }) => [
      { field: "tokenCount", what: "the tokenizer's", expected: tokenSide(tokenizer) ** 2, got: tokenCount },
      { field: "codes", what: "the tokenizer's", expected: tokenizer.codes, got: codes },
      { field: "width", what: "a multiple of 4 x heads, remainder", expected: 0, got: width % (4 * heads) },
    ],
    async loadTokenizer(device, source, config, options: LoadNetworkOptions = {}) {
      const weights = await loadWeights(device, source, tokenizerSpecs(config), {
        ...options,
        what: `${title} VQ tokenizer`,
        ignored: buffers,
      });
      return new LlamagenImageTokenizer(weights, config, name);
    },
    async loadVariant(device, source, config, variant, options: LoadNetworkOptions = {}) {
      const weights = await loadWeights(device, source, transformerSpecs(config), {
        ...options,
        what: `${title} transformer ${variant}`,
        ignored: buffers,
        strangers,
        alternatives: new Map(officialVariants.map((row) => [row.title, transformerSpecs(row.config)])),
      });
      return new LlamagenVariant(device, weights, config, variant, name);
    },
  };
}

/** Variants for images of 256 pixels. */
export const llamagen: Family<LlamagenTokenizerConfig, LlamagenConfig> = llamagenFamily(
  "llamagen",
  "LlamaGen",
  256,
  "",
);

/** Variants for images of 384 pixels. Their tokenizer is that of the variants for 256 pixels. */
export const llamagen384: Family<LlamagenTokenizerConfig, LlamagenConfig> = {
  ...llamagenFamily("llamagen384", "LlamaGen 384", 384, "384"),
  shares: {
    family: llamagen.name,
    differs: ["resolution"],
    tokenizer: ({ weights }, config) => new LlamagenImageTokenizer(weights, config, "llamagen384", true),
  },
};
