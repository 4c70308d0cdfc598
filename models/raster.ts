/**
 * What families share whose tokens are one square map in raster order: their tokenizers and transformers behind the
 * common interfaces, and sampling token by token with classifier-free guidance by a factor per token.
 * Sources: bytedance/1d-tokenizer, modeling/rar.py (`generate`); FoundationVision/LlamaGen,
 * autoregressive/models/generate.py.
 */
import { affine, argmax, concat, keep, scope, slice, type Tensor } from "../core/tensor/mod.ts";
import { type DrawRule, type Sampler, unmixed } from "./draw_rule.ts";
import type {
  Condition,
  ConditionCost,
  EncodeOptions,
  FamilyName,
  ImageTokenizer,
  TokenizerFacts,
  Variant,
} from "./family.ts";
import { guideByFactor } from "./guidance.ts";
import {
  checkOptions,
  type GenerateOptions,
  Pace,
  type Support,
  TokenDraw,
  TokenNoise,
  wholeSupport,
} from "./sampling.ts";
import type { Weights } from "./weights.ts";

/** A condition whose embedding says on which device it is. */
export type RasterCondition = Condition & { readonly embedded: Tensor };

/** A transformer that predicts tokens in raster order. */
export interface RasterTransformer<C extends RasterCondition = RasterCondition, S extends Disposing = Disposing> {
  readonly config: { readonly tokenCount: number; readonly codes: number; readonly classes: number };
  /** Of one label for a whole batch, or one per image, for the first `rows` rows where it says how many. */
  condition(labels: readonly (number | null)[], rows?: number): C;
  /** `Variant.hiddenStates`. */
  hiddenStates(tokens: Tensor, condition: C, n?: number): Tensor;
  /** hidden[..., width] -> logits[..., codes]. */
  codeLogits(hidden: Tensor): Tensor;
  /** A state for `step`, with room for the whole sequence. */
  start(batch: number): S;
  /** Logits[batch, codes] of the next token; null in place of a token at the first step. */
  step(state: S, previous: Tensor | null, condition: C): Tensor;
  dispose(): void;
}

interface Disposing {
  dispose(): void;
}

/** Every number of tokens, from 1: how many of the first tokens can be scored without the others. */
export function anyPrefix(tokens: number): number[] {
  return Array.from({ length: tokens }, (_, i) => i + 1);
}

/** How tokens are drawn. */
export interface RasterDraw {
  /** Guidance factor of every token; 1 for none. */
  readonly factors: readonly number[];
  /** Guided logits are divided by it. */
  readonly temperature: number;
  /** Default: all codes. */
  readonly support?: Support;
}

/**
 * tokens[batch, N] (i32, raster order); dispose it when done. Conditional and unconditional rows go through the network
 * as one batch. Images without a class, and factors of 1 alone, need no unconditional ones.
 */
export async function generateRaster<C extends RasterCondition, S extends Disposing>(
  operation: string,
  transformer: RasterTransformer<C, S>,
  { factors, temperature, support = wholeSupport }: RasterDraw,
  options: GenerateOptions,
): Promise<Tensor> {
  checkOptions(operation, options);
  if (options.moreSmooth) {
    throw new Error(`${operation}: more_smooth is a setting of VAR; here the codes that are drawn are decoded`);
  }
  const { labels, images, seed, onStep, onProgress } = options;
  const { tokenCount, codes } = transformer.config;
  const batch = labels.length;
  const isGuided = labels.some((label) => label !== null) && factors.some((factor) => factor !== 1);

  using cleanup = new DisposableStack();
  const condition = transformer.condition(isGuided ? [...labels, ...labels.map(() => null)] : labels);
  cleanup.defer(() => condition.dispose());
  const state = transformer.start(condition.batch);
  cleanup.defer(() => state.dispose());
  const { device } = condition.embedded;
  const noise = options.argmax ? null : cleanup.adopt(new TokenNoise(device, seed, images, tokenCount), dispose);
  const draw = options.argmax ? null : cleanup.adopt(new TokenDraw(device, codes, support), dispose);
  const tokens: Tensor[] = [];
  cleanup.defer(() => tokens.forEach(dispose));

  const pace = new Pace(options.signal);
  for (let t = 0; t < tokenCount; t++) {
    const token = scope(() => {
      const before = t === 0 ? null : tokens[t - 1];
      const rows = transformer.step(state, isGuided && before ? concat([before, before], 0) : before, condition);
      const logits = isGuided ? guideByFactor(slice(rows, 0, 0, batch), slice(rows, 0, batch), factors[t]) : rows;
      onStep?.(logits.reshape(batch, 1, codes));
      if (!noise || !draw) return keep(argmax(logits));
      const scaled = temperature === 1 ? logits : affine(logits, 1 / temperature);
      return keep(draw.draw(scaled, ...noise.at(t, t + 1)));
    });
    tokens.push(token);
    onProgress?.((t + 1) / tokenCount);
    await pace.step();
  }
  return keep(scope(() => concat(tokens.map((token) => token.reshape(batch, 1)), 1)));
}

function dispose(item: Disposing): void {
  item.dispose();
}

/** A tokenizer of one map, without its networks. */
export abstract class RasterTokenizer<Config> implements ImageTokenizer {
  readonly latents = null;
  readonly residual = null;
  abstract readonly family: FamilyName;
  abstract readonly valueRange: readonly [number, number];
  abstract readonly codebook: Tensor;
  readonly #facts: TokenizerFacts;

  constructor(readonly weights: Weights, readonly config: Config, facts: TokenizerFacts) {
    this.#facts = facts;
  }

  get imageSize(): number {
    return this.#facts.imageSize;
  }

  get tokenCount(): number {
    return this.#facts.tokenCount;
  }

  get patchNums(): readonly number[] {
    return this.#facts.patchNums;
  }

  get codes(): number {
    return this.#facts.codes;
  }

  get weightBytes(): number {
    return this.weights.bytes;
  }

  abstract encode(images: Tensor, options?: EncodeOptions): Tensor;
  abstract quantize(f: Tensor): { tokens: Tensor; fHat: Tensor };
  abstract dequantize(tokens: Tensor): Tensor;
  abstract decode(fHat: Tensor): Tensor;

  transformerInput(tokens: Tensor): Tensor {
    return tokens.reshape(...tokens.shape);
  }

  dispose(): void {
    this.weights.dispose();
  }
}

/** A transformer as a variant, without its sampler: tokens[batch, N] -> logits of those N tokens. */
export abstract class RasterVariant<C extends RasterCondition, T extends RasterTransformer<C>> implements Variant<C> {
  abstract readonly family: FamilyName;
  abstract readonly conditionCost: ConditionCost;

  constructor(readonly transformer: T, readonly name: string, readonly weightBytes: number) {}

  get classes(): number {
    return this.transformer.config.classes;
  }

  get tokenCount(): number {
    return this.transformer.config.tokenCount;
  }

  get codes(): number {
    return this.transformer.config.codes;
  }

  get patchNums(): readonly number[] {
    return [Math.sqrt(this.tokenCount)];
  }

  get prefixes(): readonly number[] {
    return anyPrefix(this.tokenCount);
  }

  abstract condition(labels: readonly (number | null)[], tokens?: number): C;
  abstract logits(input: Tensor, condition: C): Tensor;

  hiddenStates(input: Tensor, condition: C, tokens?: number): Tensor {
    return this.transformer.hiddenStates(input, condition, tokens);
  }

  codeLogits(hidden: Tensor): Tensor {
    return this.transformer.codeLogits(hidden);
  }

  /** How a sampler draws. Throws where the settings are not those of this family. */
  protected abstract drawOf(sampler: Sampler): RasterDraw;

  drawRule(sampler: Sampler): DrawRule {
    const { factors, temperature, support = wholeSupport } = this.drawOf(sampler);
    return {
      mixing: factors.map((factor) => factor === 1 ? unmixed : { factor, share: 1, base: 1 }),
      temperature,
      support,
    };
  }

  async generate(tokenizer: ImageTokenizer, sampler: Sampler, options: GenerateOptions) {
    const tokens = await generateRaster(`generate ${this.name}`, this.transformer, this.drawOf(sampler), options);
    return { tokens, fHat: tokenizer.dequantize(tokens) };
  }

  dispose(): void {
    this.transformer.dispose();
  }
}
