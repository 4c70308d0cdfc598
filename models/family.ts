/**
 * What attribution sees of a model family and of its variants: images to latents to tokens to logits.
 * Nothing here knows what a label or a verdict is.
 */
import type { Tensor } from "../core/tensor/mod.ts";
import type { LatentStatistics } from "./var/latent_statistics.ts";

export type FamilyName = "rar" | "var";

/** A tokenizer: the part that all variants of a family share. */
export interface Family {
  readonly name: FamilyName;
  /** Side of the square images in pixels. */
  readonly imageSize: number;
  /** Range of pixel values that `encode` expects and `decode` aims at. */
  readonly valueRange: readonly [number, number];
  /** Tokens per image. */
  readonly tokenCount: number;
  /** Codebook size. */
  readonly codes: number;
  readonly weightBytes: number;
  /** How far the latents of the family's inverse decoder are off, where it says so; they are refined then (attribution/signals/reconstruction.ts). */
  readonly latents: LatentStatistics | null;
  /** images[batch, size, size, 3] in `valueRange` -> f[batch, h, w, channels]. */
  encode(images: Tensor): Tensor;
  /** f -> tokens[batch, tokenCount] (i32) and fHat, the latent they stand for, of the shape of f. Greedy for VAR. */
  quantize(f: Tensor): { tokens: Tensor; fHat: Tensor };
  /** tokens[batch, tokenCount] -> fHat[batch, h, w, channels]. */
  dequantize(tokens: Tensor): Tensor;
  /** fHat (or f) -> images[batch, size, size, 3], not clamped. */
  decode(fHat: Tensor): Tensor;
  /** tokens[batch, tokenCount] -> what `Variant.logits` takes: the tokens themselves (RAR), or the inputs of every scale (VAR). */
  transformerInput(tokens: Tensor): Tensor;
  dispose(): void;
}

/** What depends on nothing but the condition, computed once and used for every image. */
export interface Condition {
  /** 1 (shared by the whole batch) or the batch size. */
  readonly batch: number;
  readonly bytes: number;
  dispose(): void;
}

/** A transformer over the tokens of its family. */
export interface Variant<C extends Condition = Condition> {
  readonly name: string;
  readonly family: FamilyName;
  readonly classes: number;
  readonly tokenCount: number;
  readonly codes: number;
  readonly weightBytes: number;
  /** How many of the first tokens can be scored without the others, ascending: any number (RAR), or whole scales (VAR). */
  readonly prefixes: readonly number[];
  /**
   * Prepares class labels, null for the unconditional one. One label serves any batch, several are one per image. With
   * `tokens`, one of `prefixes`, it is good for no more than so many tokens, and no larger than they need.
   */
  condition(labels: readonly (number | null)[], tokens?: number): C;
  /** Teacher-forced logits[batch, tokenCount, codes]: row t predicts token t. */
  logits(input: Tensor, condition: C): Tensor;
  /**
   * What the logits of the first `tokens` tokens (one of `prefixes`, default all) are a linear map of, [batch, tokens, width].
   * Much smaller than they are: `codeLogits` gives those of as many rows as there is room for.
   */
  features(input: Tensor, condition: C, tokens?: number): Tensor;
  /** features[..., width] -> logits[..., codes]. */
  codeLogits(features: Tensor): Tensor;
  dispose(): void;
}
