/**
 * What a model family is to the rest of the program: one row of models/registry.ts, filled by one folder below models/.
 * Loaded networks are `ImageTokenizer` and `Variant`. Nothing here knows what a label or a verdict is.
 */
import type { GenericSchema } from "npm:valibot@1.5.0";
import type { Device, Tensor } from "../core/tensor/mod.ts";
import type { Stranger } from "./checkpoint/load.ts";
import type { TensorSource } from "./checkpoint/source.ts";
import type { DrawRule, Sampler, SamplerSetting } from "./draw_rule.ts";
import type { FamilyTraining } from "./family_training.ts";
import type { TokenizerFlops, VariantFlops } from "./flops.ts";
import type { Activations, BytesByDevice, StepActivations } from "./footprint.ts";
import type { LatentStatistics } from "./latent_statistics.ts";
import type { GenerateOptions } from "./sampling.ts";
import type { LoadNetworkOptions, Weights, WeightSpec } from "./weights.ts";

/** Name of a family, such as `rar`: a folder below models/ and a row of the registry. */
export type FamilyName = string;

/** A value for each of some families. */
export type ByFamily<T> = Readonly<Record<FamilyName, T>>;

/** What is known of a tokenizer from its configuration alone. */
export interface TokenizerFacts {
  /** Side of the square images in pixels. */
  readonly imageSize: number;
  /** Tokens per image. */
  readonly tokenCount: number;
  /** Size of the codebook. */
  readonly codes: number;
  /** Channels of a code. */
  readonly channels: number;
  /** Sides of the square maps that the tokens form, in order: one map, or one per scale from coarse to fine. */
  readonly patchNums: readonly number[];
  /** Channels of its convolutions at the finest level. */
  readonly width: number;
  /** Operations of the passes. */
  readonly flops: TokenizerFlops;
  /** Memory of a pass. */
  readonly activations: Activations;
  /** Memory of a training step of the encoder. */
  readonly training: StepActivations;
}

/** What is known of a transformer from its configuration alone. */
export interface VariantFacts {
  /** Classes that it can be conditioned on. */
  readonly classes: number;
  /** Tokens per image. */
  readonly tokenCount: number;
  /** Codebook size. */
  readonly codes: number;
  /** As those of its tokenizer. */
  readonly patchNums: readonly number[];
  /** How many of the first tokens can be scored without the others, ascending: any number, or whole scales. */
  readonly prefixes: readonly number[];
  /** What a class condition costs. */
  readonly conditionCost: ConditionCost;
  /** Channels of its rows. */
  readonly width: number;
  /** Operations of the passes. */
  readonly flops: VariantFlops;
  /** Memory of a pass. */
  readonly activations: Activations;
  /** What generating with a key/value cache needs, per image. */
  readonly generation: {
    /** Bytes of keys and values. */
    readonly cacheBytes: number;
    /** Bytes of the tensors of its steps, drawing included on WebGPU, where every step may have tensors of its own. */
    readonly steps: BytesByDevice;
    /** Bytes of the largest single tensor that a pass over all tokens does not have. */
    readonly largestTensor: number;
  };
}

/** A published variant. */
export interface OfficialVariant<Config = unknown> {
  /** As data folders and results call it: `rarb`. */
  readonly label: string;
  /** As its authors call it: `RAR-B`. */
  readonly title: string;
  /** Its architecture. */
  readonly config: Config;
  /** The settings that its authors sample with. */
  readonly sampler: Sampler;
}

/** Something that must be equal in the configurations of a tokenizer and of a transformer over its tokens. */
export interface Agreement {
  /** Field of the transformer's configuration. */
  readonly field: string;
  /** For messages: `the tokenizer's`. */
  readonly what: string;
  /** What it must be. */
  readonly expected: unknown;
  /** What it is. */
  readonly got: unknown;
}

/** A model family: configurations, weight names and loaders of its tokenizer and of its transformers. */
export interface Family<TokenizerConfig = unknown, VariantConfig = unknown> {
  /** The folder's name. */
  readonly name: FamilyName;
  /** For people: `RAR`. */
  readonly title: string;
  /**
   * Checks a tokenizer's configuration.
   *
   * @internal
   */
  readonly tokenizerSchema: GenericSchema<unknown, TokenizerConfig>;
  /**
   * Checks a transformer's configuration.
   *
   * @internal
   */
  readonly variantSchema: GenericSchema<unknown, VariantConfig>;
  /**
   * Checks the settings of a sampler.
   *
   * @internal
   */
  readonly samplerSchema: GenericSchema<unknown, Sampler>;
  /** The settings that its samplers have. */
  readonly samplerSettings: readonly SamplerSetting[];
  /**
   * Other settings that people draw with, each as what it changes of a variant's own sampler. The likelihood of an
   * image is averaged over them, because nobody knows which ones it was drawn with.
   */
  readonly otherSettings: readonly Sampler[];
  /** Whether its samplers can decode mixtures of codes, `moreSmooth`. Default false. */
  readonly mixesCodes?: boolean;
  /** Of the published tokenizer. */
  readonly officialTokenizer: TokenizerConfig;
  /** From small to large. */
  readonly officialVariants: readonly OfficialVariant<VariantConfig>[];
  /** Tensors that its checkpoints may carry and that no network reads. */
  readonly buffers: readonly RegExp[];
  /** Checkpoints of its authors that are none of its networks. Default none. */
  readonly strangers?: readonly Stranger[];
  /** Prefixes of the tokenizer's parameters that the inverse decoder replaces. */
  readonly encoderModules: readonly string[];
  /** Prefixes of parameters that are not trained with it, but that its gradients pass through. Default none. */
  readonly passedModules?: readonly string[];
  /** How its inverse decoder was trained: epochs, images per step and learning rate (arXiv 2606.28386). */
  readonly encoderRecipe: { readonly epochs: number; readonly batch: number; readonly lr: number };
  /**
   * Another family whose tokenizer has the same networks, for images of another size: sets with both need only one of
   * them on the device. `differs` are the fields of the configuration in which they differ; `tokenizer` makes this
   * family's of a loaded one of the other, to which the weights belong.
   */
  readonly shares?: {
    readonly family: FamilyName;
    readonly differs: readonly string[];
    tokenizer(loaded: ImageTokenizer, config: TokenizerConfig): ImageTokenizer;
  };
  /** How its networks are trained from nothing; without it they can only be loaded. */
  readonly training?: FamilyTraining<VariantConfig>;
  /** The tensors of a tokenizer, by the checkpoint's names. */
  tokenizerSpecs(config: TokenizerConfig): WeightSpec[];
  /** The tensors of a transformer, by the checkpoint's names. */
  variantSpecs(config: VariantConfig): WeightSpec[];
  /** What is known of a tokenizer without its weights. */
  tokenizerFacts(config: TokenizerConfig): TokenizerFacts;
  /** What is known of a transformer without its weights. */
  variantFacts(config: VariantConfig): VariantFacts;
  /** What must hold within a tokenizer's configuration, and between it and a transformer's. */
  tokenizerAgreements(config: TokenizerConfig): readonly Agreement[];
  /** What must hold between a tokenizer's configuration and a transformer's. */
  variantAgreements(tokenizer: TokenizerConfig, variant: VariantConfig): readonly Agreement[];
  /** Loads a tokenizer. Throws naming missing, unused or mis-shaped tensors. */
  loadTokenizer(
    device: Device,
    source: TensorSource,
    config: TokenizerConfig,
    options?: LoadNetworkOptions,
  ): Promise<ImageTokenizer>;
  /**
   * Loads a transformer. Throws as `loadTokenizer`; when the file fits another official variant, the error says which.
   */
  loadVariant(
    device: Device,
    source: TensorSource,
    config: VariantConfig,
    name: string,
    options?: LoadNetworkOptions,
  ): Promise<Variant>;
}

/** A pass of the encoder. */
export interface EncodeOptions {
  /** Recomputes the inside of every block in the backward pass, to save memory. */
  readonly recompute?: boolean;
}

/** A loaded image tokenizer: encoder, quantiser and decoder, shared by all variants of a family. */
export interface ImageTokenizer {
  /** Its family. */
  readonly family: FamilyName;
  /** Side of the square images in pixels. */
  readonly imageSize: number;
  /** Range of pixel values that `encode` expects and `decode` aims at. */
  readonly valueRange: readonly [number, number];
  /** Tokens per image. */
  readonly tokenCount: number;
  /** Codebook size. */
  readonly codes: number;
  /** Sides of the square maps that the tokens form, in order: one map, or one per scale from coarse to fine. */
  readonly patchNums: readonly number[];
  /** Device memory of its weights. */
  readonly weightBytes: number;
  /** Its parameters by the checkpoint's names. */
  readonly weights: Weights;
  /** The codebook, [codes, channels]. */
  readonly codebook: Tensor;
  /** How far the latents of its inverse decoder are off, where the encoder's file says so. */
  readonly latents: LatentStatistics | null;
  /** How codes of several scales add up to fHat; null where every position of fHat is one code. */
  readonly residual: ResidualCodes | null;
  /** images[batch, size, size, 3] in `valueRange` -> f[batch, h, w, channels]. */
  encode(images: Tensor, options?: EncodeOptions): Tensor;
  /**
   * f -> tokens[batch, tokenCount] (i32) and fHat, the latent they stand for, of the shape of f. Greedy over scales.
   */
  quantize(f: Tensor): { tokens: Tensor; fHat: Tensor };
  /** tokens[batch, tokenCount] -> fHat[batch, h, w, channels]. */
  dequantize(tokens: Tensor): Tensor;
  /** fHat (or f) -> images[batch, size, size, 3], not clamped. */
  decode(fHat: Tensor): Tensor;
  /** tokens[batch, tokenCount] -> what `Variant.logits` takes: the tokens themselves, or the inputs of every scale. */
  transformerInput(tokens: Tensor): Tensor;
  /** Frees its weights. */
  dispose(): void;
}

/**
 * A residual codebook over scales: fHat is the sum over scales of phi(enlarge(codes)), with bicubic enlargement to the
 * side of the last scale and one of a few shared 3x3 convolutions phi(x) = x / 2 + conv(x) / 2 (FoundationVision/VAR,
 * models/quant.py).
 */
export interface ResidualCodes {
  /** Parameters of every shared convolution as they are loaded: `weight`, packed or [c, c, 3, 3], and `bias` [c]. */
  readonly phis: readonly { readonly weight: Tensor; readonly bias: Tensor }[];
  /** Which of them a scale uses. */
  readonly phiOf: readonly number[];
}

/** What depends on nothing but the condition, computed once and used for every image. */
export interface Condition {
  /** 1 (shared by the whole batch) or the batch size. */
  readonly batch: number;
  /** Device memory of its tables. */
  readonly bytes: number;
  /** Frees its tables. */
  dispose(): void;
}

/** What a class condition costs, next to a row of tokens. */
export interface ConditionCost {
  /**
   * True where a condition's tables have a row per token: a pass should be under one condition, which all its images
   * share. False where they are small: images under any conditions share a pass.
   */
  readonly perToken: boolean;
  /** Work of preparing it and of rows without a token, in rows of a pass. */
  readonly work: number;
  /** Its memory beside the tokens' rows, in rows of a pass. */
  readonly memory: number;
}

/** A transformer over the tokens of its family. */
export interface Variant<C extends Condition = Condition> {
  /** Name in the model set. */
  readonly name: string;
  /** Its family. */
  readonly family: FamilyName;
  /** Classes that it can be conditioned on. */
  readonly classes: number;
  /** Tokens per image. */
  readonly tokenCount: number;
  /** Codebook size. */
  readonly codes: number;
  /** As those of its tokenizer. */
  readonly patchNums: readonly number[];
  /** Device memory of its weights. */
  readonly weightBytes: number;
  /** How many of the first tokens can be scored without the others, ascending: any number, or whole scales. */
  readonly prefixes: readonly number[];
  /** What a class condition costs. */
  readonly conditionCost: ConditionCost;
  /**
   * Prepares class labels, null for the unconditional one. One label serves any batch, several are one per image. With
   * `tokens`, one of `prefixes`, it is good for no more than so many tokens, and no larger than they need.
   */
  condition(labels: readonly (number | null)[], tokens?: number): C;
  /** Teacher-forced logits[batch, tokenCount, codes]: row t predicts token t. */
  logits(input: Tensor, condition: C): Tensor;
  /**
   * Hidden states that the logits of the first `tokens` tokens (one of `prefixes`, default all) are a linear map of,
   * [batch, tokens, width]. Much smaller than the logits: `codeLogits` gives those of as many rows as there is room
   * for.
   */
  hiddenStates(input: Tensor, condition: C, tokens?: number): Tensor;
  /** hidden[..., width] -> logits[..., codes]. */
  codeLogits(hidden: Tensor): Tensor;
  /** The distribution that a sampler draws from. Throws where the settings are not those of this family. */
  drawRule(sampler: Sampler): DrawRule;
  /** Draws images: tokens[batch, tokenCount] (i32) and their fHat; dispose both. */
  generate(
    tokenizer: ImageTokenizer,
    sampler: Sampler,
    options: GenerateOptions,
  ): Promise<{ tokens: Tensor; fHat: Tensor }>;
  /** Frees its weights. */
  dispose(): void;
}

/** First token of every map, and the number of tokens at the end. */
export function scaleStarts(patchNums: readonly number[]): number[] {
  const starts = [0];
  for (const side of patchNums) starts.push(starts[starts.length - 1] + side * side);
  return starts;
}
