/** Scores images under one loaded variant: infers their classes, and summarises their tokens under these classes. */
import type { Device } from "../../core/tensor/mod.ts";
import type { Sampler } from "../../models/draw_rule.ts";
import {
  type Condition,
  type FamilyName,
  type ImageTokenizer,
  scaleStarts,
  type Variant,
} from "../../models/family.ts";
import {
  defaultInference,
  inferClasses,
  type InferenceSettings,
  type InferOptions,
  type InferredClasses,
  type WeightedClass,
} from "./class_inference.ts";
import { mixSummaries, type Summaries, summarise, withOwnSampler } from "./summaries.ts";
import { type ScorerOptions, TokenScorer, type TokenScores } from "./token_scores.ts";

/** Features of an image's tokens beyond the summaries, under its likeliest class. */
export interface ExtraScores {
  /** Name and version, for the settings of evidence. */
  readonly id: string;
  /** Further numbers per token, see `ScorerOptions`. */
  readonly rowStatistics?: ScorerOptions["rowStatistics"];
  /**
   * The features by name. They must be finite, and no summary may have their names. `scores.extra` has `rowStatistics`.
   */
  summarise(scores: TokenScores, tokens: Int32Array, variant: string): Readonly<Record<string, number>>;
}

/** How images are scored. */
export interface VariantScorerOptions {
  /** Images per pass, each under one class. Default 8. */
  readonly batch?: number;
  /** Images per pass if each has another condition, as in class inference. Default: `batch`. */
  readonly ownConditions?: number;
  /** Bytes for a block of logits and what is computed from it. Default: `usualBlockBytes`. */
  readonly blockBytes?: number;
  /** How classes are inferred. Default: `defaultInference`. */
  readonly inference?: InferenceSettings;
  /** Features beyond the summaries. */
  readonly extras?: ExtraScores;
}

/** Significant digits of the summaries. float32 has fewer, and evidence stays small. */
const digits = 8;

/**
 * Prior probabilities of so many samplers, of which the first is the variant's own: it has half of all, the others
 * share the rest equally.
 */
export function samplerWeights(samplers: number): number[] {
  if (samplers === 1) return [1];
  return [0.5, ...new Array<number>(samplers - 1).fill(0.5 / (samplers - 1))];
}

/** Scores images under one variant. It owns small tensors, so dispose it. It does not own the networks. */
export class VariantScorer {
  readonly #device: Device;
  readonly #tokenizer: ImageTokenizer;
  readonly #variant: Variant;
  readonly #scorer: TokenScorer;
  readonly #starts: readonly number[];

  /** A scorer for a loaded variant. `condition` is its unconditional one, and its own sampler the first. */
  constructor(
    device: Device,
    tokenizer: ImageTokenizer,
    { variant, condition, samplers }: { variant: Variant; condition: Condition; samplers: readonly Sampler[] },
    readonly options: VariantScorerOptions = {},
  ) {
    const { batch, blockBytes, extras } = options;
    this.#device = device;
    this.#tokenizer = tokenizer;
    this.#variant = variant;
    const rowStatistics = extras?.rowStatistics;
    this.#scorer = new TokenScorer(device, tokenizer, variant, samplers, {
      ...{ batch, blockBytes, rowStatistics },
      unconditional: condition,
    });
    this.#starts = variant.patchNums.length > 1 ? scaleStarts(variant.patchNums) : [];
  }

  /** The variant's name. */
  get name(): string {
    return this.#variant.name;
  }

  /** The variant's family. */
  get family(): FamilyName {
    return this.#variant.family;
  }

  /** Classes that the variant knows. */
  get classes(): number {
    return this.#variant.classes;
  }

  /** Tokens of an image. */
  get tokenCount(): number {
    return this.#variant.tokenCount;
  }

  /** Infers the classes of images from tokens[images * tokenCount]. */
  async infer(
    tokens: Int32Array,
    more: Pick<InferOptions, "start" | "coarseOnly"> = {},
  ): Promise<InferredClasses[]> {
    const { batch = 8, ownConditions = batch, blockBytes, inference = defaultInference } = this.options;
    return await inferClasses(this.#device, this.#tokenizer, this.#variant, tokens, {
      settings: inference,
      batch: ownConditions,
      blockBytes,
      ...more,
    });
  }

  /** Summaries of tokens[images * tokenCount], each image under the mixture of its classes, or without a class. */
  async summarise(tokens: Int32Array, classes: readonly (readonly WeightedClass[])[]): Promise<Summaries[]> {
    const n = this.tokenCount;
    const labels = classes.map((weighted) => weighted.length === 0 ? [null] : weighted.map((item) => item.class));
    const scores = await this.#scorer.score(tokens, labels);
    return scores.map((byClass, image) => {
      const weights = classes[image].length === 0 ? [1] : classes[image].map(({ weight }) => weight);
      const mixed = this.#mix(byClass, weights);
      const ids = tokens.slice(image * n, (image + 1) * n);
      const all = { ...mixed, ...this.options.extras?.summarise(byClass[0][0], ids, this.#variant.name) };
      return Object.fromEntries(Object.entries(all).map(([name, x]) => [name, Number(x.toPrecision(digits))]));
    });
  }

  /** Summaries of an image under the mixture of its classes and of the samplers. */
  #mix(byClass: readonly (readonly TokenScores[])[], classWeights: readonly number[]): Summaries {
    const prior = samplerWeights(byClass[0].length);
    const each = byClass.map((bySampler) => bySampler.map((scores) => summarise(scores, this.#starts)));
    const mix = (all: readonly Summaries[], weights: readonly number[]) =>
      all.length === 1 ? all[0] : mixSummaries(all, weights, this.tokenCount);
    const mixed = mix(each.flat(), classWeights.flatMap((weight) => prior.map((share) => weight * share)));
    return withOwnSampler(mixed, mix(each.map(([own]) => own), classWeights));
  }

  /** Frees the scorer's tensors. */
  dispose(): void {
    this.#scorer.dispose();
  }
}
