/**
 * The VAR family: its row of the registry, and its tokenizer and transformers behind the common interfaces.
 * The networks themselves are in vqvae.ts, quantizer.ts and transformer.ts.
 */
import * as v from "npm:valibot@1.5.0";
import { bytesPerElement, type Device, type Tensor } from "../../core/tensor/mod.ts";
import type { TensorSource } from "../checkpoint/source.ts";
import { type DrawRule, type Mixing, requireSettings, type Sampler, unmixed } from "../draw_rule.ts";
import {
  type EncodeOptions,
  type Family,
  type ImageTokenizer,
  type ResidualCodes,
  scaleStarts,
  type Variant,
} from "../family.ts";
import { convolutionalActivations, encoderStep, transformerActivations } from "../footprint.ts";
import { latentNames, type LatentStatistics, readLatentStatistics } from "../latent_statistics.ts";
import type { GenerateOptions } from "../sampling.ts";
import { countsTo, countTo, maxima, positive } from "../schema.ts";
import { type LoadNetworkOptions, loadWeights, type Weights } from "../weights.ts";
import { tokenCount, type VarConfig, varOtherSettings, varTokenizer, varVariants, type VqvaeConfig } from "./config.ts";
import { varFlops, vqvaeFlops } from "./flops.ts";
import { generateVar } from "./generate.ts";
import { MultiScaleQuantizer, phiIndices } from "./quantizer.ts";
import { guidanceStrengths } from "./sampler.ts";
import { varTraining } from "./training.ts";
import { transformerSpecs, varBuffers, type VarCondition, VarTransformer } from "./transformer.ts";
import { decode, encode, vqvaeSpecs } from "./vqvae.ts";

const samplerSettings = ["guidance", "topK", "topP"] as const;

/** Buffers of the official checkpoints that are computed here or serve training. */
const buffers = [/(^|\.)ema_vocab_hit_SV$/, ...varBuffers];

export class VarImageTokenizer implements ImageTokenizer {
  readonly family = "var";
  readonly valueRange = [-1, 1] as const;
  readonly config: VqvaeConfig;
  readonly quantizer: MultiScaleQuantizer;
  /** Of its inverse decoder, where that has them. */
  readonly latents: LatentStatistics | null;
  readonly weights: Weights;

  constructor(device: Device, weights: Weights, config: VqvaeConfig, latents: LatentStatistics | null = null) {
    this.weights = weights;
    this.config = config;
    this.latents = latents;
    this.quantizer = new MultiScaleQuantizer(device, weights, config);
  }

  get imageSize(): number {
    return this.config.resolution;
  }

  get tokenCount(): number {
    return this.quantizer.tokenCount;
  }

  get codes(): number {
    return this.config.codes;
  }

  get weightBytes(): number {
    return this.weights.bytes;
  }

  /** The codebook, [codes, channels]. */
  get codebook(): Tensor {
    return this.weights.get("quantize.embedding.weight");
  }

  get patchNums(): readonly number[] {
    return this.config.patchNums;
  }

  get residual(): ResidualCodes {
    const { sharedPhi, patchNums } = this.config;
    return {
      phis: Array.from({ length: sharedPhi }, (_, k) => {
        const w = this.weights.at(`quantize.quant_resi.qresi_ls.${k}`);
        return { weight: w.get("weight"), bias: w.get("bias") };
      }),
      phiOf: phiIndices(sharedPhi, patchNums.length),
    };
  }

  encode(images: Tensor, options: EncodeOptions = {}): Tensor {
    return encode(images, this.weights, this.config, options);
  }

  quantize(f: Tensor): { tokens: Tensor; fHat: Tensor } {
    return this.quantizer.quantize(f);
  }

  dequantize(tokens: Tensor): Tensor {
    return this.quantizer.dequantize(tokens);
  }

  decode(fHat: Tensor): Tensor {
    return decode(fHat, this.weights, this.config);
  }

  transformerInput(tokens: Tensor): Tensor {
    return this.quantizer.transformerInput(tokens);
  }

  dispose(): void {
    this.quantizer.dispose();
    this.weights.dispose();
  }
}

/** Its tables have a row for the whole image. */
const conditionCost = { perToken: false, work: 0.5, memory: 8 } as const;

/** A VAR transformer as a variant: the quantiser's transformerInput -> logits of all tokens. */
export class VarVariant implements Variant<VarCondition> {
  readonly family = "var";
  /** Tables of a condition are as large as a few rows, whatever the number of tokens. */
  readonly conditionCost = conditionCost;
  readonly name: string;
  readonly weightBytes: number;
  readonly transformer: VarTransformer;

  constructor(device: Device, weights: Weights, config: VarConfig, name: string) {
    this.name = name;
    this.weightBytes = weights.bytes;
    this.transformer = new VarTransformer(device, weights, config);
  }

  get classes(): number {
    return this.transformer.config.classes;
  }

  get tokenCount(): number {
    return this.transformer.rows;
  }

  get codes(): number {
    return this.transformer.config.codes;
  }

  get patchNums(): readonly number[] {
    return this.transformer.config.patchNums;
  }

  get prefixes(): readonly number[] {
    return scaleStarts(this.transformer.config.patchNums).slice(1);
  }

  /** Its tables have no positions: they are of one size whatever the number of tokens. */
  condition(labels: readonly (number | null)[]): VarCondition {
    return this.transformer.condition(labels);
  }

  logits(input: Tensor, condition: VarCondition): Tensor {
    return this.transformer.logits(input, condition);
  }

  hiddenStates(input: Tensor, condition: VarCondition, tokens?: number): Tensor {
    return this.transformer.hiddenStates(input, condition, tokens);
  }

  codeLogits(hidden: Tensor): Tensor {
    return this.transformer.codeLogits(hidden);
  }

  drawRule(sampler: Sampler): DrawRule {
    const { guidance, topK, topP } = requireSettings(sampler, samplerSettings, this.name);
    const { patchNums } = this;
    const mixing = guidanceStrengths(guidance, patchNums.length).flatMap((strength, scale) =>
      new Array<Mixing>(patchNums[scale] ** 2).fill(
        strength === 0 ? unmixed : { factor: 1 + strength, share: 0, base: -strength },
      )
    );
    return {
      mixing,
      temperature: 1,
      support: { topK, topP },
    };
  }

  async generate(tokenizer: ImageTokenizer, sampler: Sampler, options: GenerateOptions) {
    if (!(tokenizer instanceof VarImageTokenizer)) {
      throw new TypeError(`generate: expected the tokenizer of ${this.name}, got that of ${tokenizer.family}`);
    }
    const settings = requireSettings(sampler, samplerSettings, this.name);
    return await generateVar(this.transformer, tokenizer.quantizer, settings, options);
  }

  dispose(): void {
    this.transformer.dispose();
  }
}

/** Loads the tokenizer. Throws naming missing, unused or mis-shaped tensors. */
export async function loadVarTokenizer(
  device: Device,
  source: TensorSource,
  config: VqvaeConfig,
  options: LoadNetworkOptions = {},
): Promise<VarImageTokenizer> {
  const weights = await loadWeights(device, source, vqvaeSpecs(config), {
    ...options,
    what: "VAR multi-scale VQVAE",
    ignored: [...buffers, latentNames],
  });
  return new VarImageTokenizer(
    device,
    weights,
    config,
    await readLatentStatistics(source, varFamily.tokenizerFacts(config)),
  );
}

/** Loads a transformer. When the file fits another official variant, the error says which. */
export async function loadVarVariant(
  device: Device,
  source: TensorSource,
  config: VarConfig,
  name: string,
  options: LoadNetworkOptions = {},
): Promise<VarVariant> {
  const weights = await loadWeights(device, source, transformerSpecs(config), {
    ...options,
    what: `VAR transformer ${name}`,
    ignored: buffers,
    alternatives: new Map(varVariants.map((row) => [row.title, transformerSpecs(row.config)])),
  });
  return new VarVariant(device, weights, config, name);
}

/** The row of the registry (`var` is a keyword). */
export const varFamily: Family<VqvaeConfig, VarConfig> = {
  name: "var",
  title: "VAR",
  tokenizerSchema: v.strictObject({
    ch: countTo(maxima.width),
    chMult: countsTo(maxima.multiplier, maxima.resolutions),
    resBlocks: countTo(maxima.blocks),
    zChannels: countTo(maxima.width),
    codes: countTo(maxima.codes),
    sharedPhi: countTo(maxima.scales),
    patchNums: countsTo(maxima.side, maxima.scales),
    resolution: countTo(maxima.resolution),
    normGroups: v.optional(countTo(maxima.width)),
  }),
  variantSchema: v.strictObject({
    depth: countTo(maxima.depth),
    embedDim: countTo(maxima.width),
    heads: countTo(maxima.width),
    sharedAdaLn: v.boolean(),
    attnL2Norm: v.boolean(),
    classes: countTo(maxima.classes),
    patchNums: countsTo(maxima.side, maxima.scales),
    mlpRatio: v.pipe(positive, v.maxValue(maxima.multiplier, `at most ${maxima.multiplier}`)),
    codeChannels: countTo(maxima.width),
    codes: countTo(maxima.codes),
  }),
  samplerSchema: v.strictObject({ guidance: v.number(), topK: countTo(maxima.codes), topP: positive }),
  samplerSettings,
  otherSettings: varOtherSettings,
  mixesCodes: true,
  officialTokenizer: varTokenizer,
  officialVariants: varVariants,
  buffers,
  encoderModules: ["encoder.", "quant_conv."],
  encoderRecipe: { epochs: 10, batch: 16, lr: 5e-5 },
  training: varTraining,
  tokenizerSpecs: vqvaeSpecs,
  variantSpecs: transformerSpecs,
  tokenizerFacts(config) {
    const { resolution, chMult, ch, resBlocks, patchNums, codes, zChannels } = config;
    const widths = chMult.map((m) => m * ch);
    return {
      imageSize: resolution,
      tokenCount: tokenCount(patchNums),
      codes,
      channels: zChannels,
      patchNums,
      width: widths[0],
      flops: vqvaeFlops(config),
      // The decoder has one block more per level.
      activations: convolutionalActivations(resolution, widths, resBlocks + 1),
      training: encoderStep(resolution, widths, resBlocks),
    };
  },
  /** Activations include the quantiser's work on the transformer's input. */
  variantFacts(config) {
    const { embedDim: width, depth, mlpRatio, codes, patchNums, codeChannels, classes } = config;
    const prefixes = scaleStarts(patchNums).slice(1);
    const flopsOf = (tokens = prefixes[prefixes.length - 1]) => varFlops(config, prefixes.indexOf(tokens) + 1);
    const rows = tokenCount(patchNums);
    const element = bytesPerElement("f32");
    const mlp = mlpRatio * width;
    const { perImage, largestTensor } = transformerActivations({ rows, width, mlp, codes, tensors: 15, logits: 1 });
    const side = patchNums[patchNums.length - 1];
    const latents = 4 * patchNums.length * side * side * codeChannels * element;
    const pass = { cpu: perImage.cpu + latents, webgpu: perImage.webgpu + latents };
    return {
      classes,
      tokenCount: rows,
      codes,
      patchNums,
      prefixes,
      conditionCost,
      width,
      flops: { condition: (tokens) => flopsOf(tokens).condition, pass: (tokens) => flopsOf(tokens).image },
      activations: {
        condition: (6 * depth + 3 + rows) * width * element,
        perImage: pass,
        largestTensor,
      },
      generation: {
        cacheBytes: 2 * depth * rows * width * element,
        // A step is a scale, so all rows have their own tensors; drawing has seven of the logits per image.
        steps: { cpu: pass.cpu, webgpu: pass.webgpu + 3.5 * rows * codes * element },
        largestTensor: 0,
      },
    };
  },
  tokenizerAgreements: ({ resolution, chMult, patchNums }) => [
    {
      field: "patchNums",
      what: "a last number of",
      expected: resolution / 2 ** (chMult.length - 1),
      got: patchNums.at(-1),
    },
  ],
  variantAgreements: (tokenizer, { patchNums, codes, codeChannels, embedDim, heads }) => [
    { field: "patchNums", what: "the tokenizer's", expected: tokenizer.patchNums, got: patchNums },
    { field: "codes", what: "the tokenizer's", expected: tokenizer.codes, got: codes },
    { field: "codeChannels", what: "the tokenizer's zChannels", expected: tokenizer.zChannels, got: codeChannels },
    { field: "embedDim", what: "a multiple of heads, remainder", expected: 0, got: embedDim % heads },
  ],
  loadTokenizer: loadVarTokenizer,
  loadVariant: loadVarVariant,
};
