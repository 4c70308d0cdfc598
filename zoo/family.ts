/**
 * What the zoo trains and how, as types: recipes, and what training needs of a model family beyond models/family.ts. A
 * family fills `ZooFamily` in the file of its name; families.ts lists them.
 */
import type { Device, Tensor } from "../core/tensor/mod.ts";
import type { Sampler } from "../models/draw_rule.ts";
import type { FamilyName, ImageTokenizer } from "../models/family.ts";
import type { Quantised, TokenizerLoss } from "../models/tokenizer_training.ts";
import type { Weights } from "../models/weights.ts";

/** A tokenizer to train, and how. */
export interface TokenizerRecipe {
  readonly name: string;
  /** `config` is of the type that the family's row of the registry says. */
  readonly network: { readonly kind: FamilyName; readonly config: unknown };
  readonly seed: number;
  readonly steps: number;
  readonly batch: number;
  readonly lr: number;
  /** Weight of the codebook and commitment terms beside the pixels' loss. */
  readonly latentWeight: number;
  /** Name of a tokenizer whose finished encoder, decoder and Phi this one begins from. */
  readonly init?: string;
  /** Weights of the terms that make tokens of several scales readable from their images (models/var/read_back.ts). */
  readonly readBack?: { readonly weight: number; readonly isotropyWeight: number };
}

/** A transformer to train, how, and how to draw from it. */
export interface TransformerRecipe {
  /** The label of its images, and its file name. */
  readonly name: string;
  readonly title: string;
  /** Its tokenizer's place in `tokenizerRecipes`. */
  readonly tokenizer: "rar" | "varFirst" | "var" | "other";
  /** `config` is of the type that the family's row of the registry says. */
  readonly network: { readonly kind: FamilyName; readonly config: unknown; readonly sampler: Sampler };
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

/** One batch of tokens. */
export interface LearnerBatch {
  /** [batch * tokenCount], one image after the other. */
  readonly tokens: Int32Array<ArrayBuffer>;
  readonly labels: readonly (number | null)[];
  /** The order in which each image's tokens are read, where the family's transformers read them in any. */
  readonly orders?: readonly Int32Array[];
}

/** tokens[batch, tokenCount] -> a transformer's input; `ImageTokenizer.transformerInput`. */
export type TransformerInput = (tokens: Tensor) => Tensor;

/** What decides a step's random numbers. */
export interface StepSeed {
  readonly seed: number;
  readonly step: number;
}

/** How the networks of a family are trained. Configurations are those of its own recipes. */
export interface ZooFamily {
  /** Depth and width of a transformer, by which initial values are scaled. */
  size(config: unknown): { readonly depth: number; readonly width: number };
  /** Mean cross-entropy per token in nats. */
  transformerLoss(
    device: Device,
    weights: Weights,
    config: unknown,
    batch: LearnerBatch,
    input: TransformerInput,
  ): Tensor;
  /** Orders of a batch, where it has any; `progress` is the share of the steps that are done. */
  orders?(batch: number, tokenCount: number, progress: number, at: StepSeed): readonly Int32Array[];
  /** images[batch, size, size, 3] -> the loss. All weights are dense. */
  tokenizerLoss(
    images: Tensor,
    tokenizer: ImageTokenizer,
    recipe: TokenizerRecipe,
    step: number,
    observe: (quantised: Quantised) => void,
  ): TokenizerLoss;
  /** Further figures of held-out images, one element each: their decoded tokens are given. */
  heldOutFigures?(tokenizer: ImageTokenizer, decoded: Tensor, tokens: Tensor, at: StepSeed): Record<string, Tensor>;
}
