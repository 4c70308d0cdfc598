/**
 * How the networks of a family are trained from nothing: the optional part `training` of a family's row. It computes
 * losses, initial values and figures; data, optimisers and learning rates belong to whoever trains.
 */
import type { Device, Tensor } from "../core/tensor/mod.ts";
import type { ImageTokenizer } from "./family.ts";
import type { InitRule } from "./init_rule.ts";
import type { Quantised, ReadBackWeights, TokenizerLoss } from "./tokenizer_training.ts";
import type { Weights } from "./weights.ts";

/** What is random depends on these two alone. */
export interface SeededStep {
  /** Of the training. */
  readonly seed: number;
  /** From 0. */
  readonly step: number;
}

/** Options of a tokenizer's loss. */
export interface TokenizerLossOptions extends SeededStep {
  /** Weight of the codebook and commitment terms beside the pixels' loss. */
  readonly latentWeight: number;
  /** Weights of the terms that make tokens readable from their images; none without. */
  readonly readBack?: ReadBackWeights;
  /** Called with what is quantised. */
  readonly observe?: (quantised: Quantised) => void;
}

/** A batch of images as tokens. */
export interface TokenBatch {
  /** [batch * tokenCount], one image after the other. */
  readonly tokens: Int32Array<ArrayBuffer>;
  /** A class per image, or null for none. */
  readonly labels: readonly (number | null)[];
  /** Per image the order in which its tokens are predicted; the tokens' own order without. */
  readonly orders?: readonly Int32Array[];
}

/** The place of a batch in a training, on which random orders may depend. */
export interface OrderOptions extends SeededStep {
  /** Steps of the whole training. */
  readonly steps: number;
  /** Images per step. */
  readonly batch: number;
  /** Tokens per image. */
  readonly tokenCount: number;
}

/** A transformer in training. All its weights are dense. */
export interface TransformerInTraining<Config = unknown> {
  /** Where its weights are. */
  readonly device: Device;
  /** Its parameters by the checkpoint's names. */
  readonly weights: Weights;
  /** Its architecture. */
  readonly config: Config;
  /** The tokenizer's `transformerInput`. */
  transformerInput(tokens: Tensor): Tensor;
}

/** Losses, figures and initial values of a family's networks. */
export interface FamilyTraining<VariantConfig = unknown> {
  /**
   * images[batch, size, size, 3] in the tokenizer's value range -> the loss. Call it inside `differentiate`, with all
   * weights of the tokenizer dense. Throws a RangeError for terms that the family does not have.
   */
  tokenizerLoss(tokenizer: ImageTokenizer, images: Tensor, options: TokenizerLossOptions): TokenizerLoss;
  /**
   * Further figures of a tokenizer on held-out images, one element each, means over the images: from their
   * tokens[batch, tokenCount] and what `decode` makes of these, [batch, size, size, 3].
   */
  tokenizerFigures?(
    tokenizer: ImageTokenizer,
    images: { readonly tokens: Tensor; readonly decoded: Tensor },
    at: SeededStep,
  ): Readonly<Record<string, Tensor>>;
  /** Initial values of a transformer's parameter. */
  initRule(name: string, shape: readonly number[], config: VariantConfig): InitRule;
  /** Orders of the images of a batch, for families that predict tokens in more than one. */
  orders?(options: OrderOptions): Int32Array<ArrayBuffer>[];
  /** Mean cross-entropy per token in nats, one element. Call it inside `differentiate`. */
  transformerLoss(transformer: TransformerInTraining<VariantConfig>, batch: TokenBatch): Tensor;
}
