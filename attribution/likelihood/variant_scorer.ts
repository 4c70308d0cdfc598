/**
 * What the pipeline asks of one loaded variant: the classes that images may be of, and the summaries of their tokens under
 * them. It joins scores, summaries and inference; which images, in which order, is the pipeline's business.
 */
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
import { mixSummaries, type Summaries, summarise } from "./summaries.ts";
import { type ScorerOptions, TokenScorer, type TokenScores } from "./token_scores.ts";

/** Numbers about an image's tokens beyond the summaries, under its likeliest class. */
export interface ExtraScores {
  /** Names them and their version in the settings of evidence. */
  readonly id: string;
  /** Further numbers per token, by name. */
  readonly rowStatistics?: ScorerOptions["rowStatistics"];
  /** Finite numbers by names that no summary has. `scores.extra` has the columns of `rowStatistics`. */
  summarise(scores: TokenScores, tokens: Int32Array, variant: string): Readonly<Record<string, number>>;
}

/** How images are scored. */
export interface VariantScorerOptions {
  /** Images (with a condition each) that go through the network at once. */
  readonly batch?: number;
  /** The same where each condition has tables of its own. Default: `batch`. */
  readonly ownConditions?: number;
  /** Memory for a block of logits. */
  readonly blockBytes?: number;
  /** How classes are inferred. */
  readonly inference?: InferenceSettings;
  /** Numbers beyond the summaries. */
  readonly extras?: ExtraScores;
}

/** Summaries are written with so many digits, more than float32 has: evidence has a lot of them. */
const digits = 8;

/** Dispose it when done; the networks are the caller's. */
export class VariantScorer {
  readonly #device: Device;
  readonly #tokenizer: ImageTokenizer;
  readonly #variant: Variant;
  readonly #scorer: TokenScorer;
  readonly #starts: readonly number[];

  /** A scorer for a loaded variant. */
  constructor(
    device: Device,
    tokenizer: ImageTokenizer,
    { variant, condition, sampler }: { variant: Variant; condition: Condition; sampler: Sampler },
    readonly options: VariantScorerOptions = {},
  ) {
    const { batch, blockBytes, extras } = options;
    this.#device = device;
    this.#tokenizer = tokenizer;
    this.#variant = variant;
    const rowStatistics = extras?.rowStatistics;
    this.#scorer = new TokenScorer(device, tokenizer, variant, sampler, {
      ...{ batch, blockBytes, rowStatistics },
      unconditional: condition,
    });
    this.#starts = variant.patchNums.length > 1 ? scaleStarts(variant.patchNums) : [];
  }

  /** Of the variant. */
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

  /** The classes that images may be of, for tokens[images * tokenCount]. */
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

  /** Summaries of images' tokens[images * tokenCount] under the mixture of each one's classes; none is unconditional. */
  async summarise(tokens: Int32Array, classes: readonly (readonly WeightedClass[])[]): Promise<Summaries[]> {
    const n = this.tokenCount;
    const labels = classes.map((own) => own.length === 0 ? [null] : own.map((each) => each.class));
    const scores = await this.#scorer.score(tokens, labels);
    return scores.map((own, image) => {
      const each = own.map((one) => summarise(one, this.#starts));
      const mixed = each.length === 1 ? each[0] : mixSummaries(each, classes[image].map(({ weight }) => weight), n);
      const ids = tokens.slice(image * n, (image + 1) * n);
      const all = { ...mixed, ...this.options.extras?.summarise(own[0], ids, this.#variant.name) };
      return Object.fromEntries(Object.entries(all).map(([name, x]) => [name, Number(x.toPrecision(digits))]));
    });
  }

  /** Frees what is kept between images; the variant is the caller's. */
  dispose(): void {
    this.#scorer.dispose();
  }
}
