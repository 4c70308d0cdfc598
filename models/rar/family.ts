/**
 * The RAR family and its variants behind the common interfaces.
 * The networks themselves are in tokenizer.ts and transformer.ts.
 */
import { type Device, scope, slice, type Tensor } from "../../core/tensor/mod.ts";
import type { TensorSource } from "../checkpoint/source.ts";
import type { Family, Variant } from "../family.ts";
import { type LoadNetworkOptions, loadWeights, type Weights } from "../weights.ts";
import { type RarConfig, type RarTokenizerConfig, rarVariants } from "./config.ts";
import { decode, dequantize, encode, quantize, tokenizerSpecs } from "./tokenizer.ts";
import { type RarCondition, RarTransformer, transformerSpecs } from "./transformer.ts";

export class RarFamily implements Family {
  readonly name = "rar";
  readonly latents = null;
  readonly valueRange = [0, 1] as const;
  readonly config: RarTokenizerConfig;
  readonly #w: Weights;

  constructor(weights: Weights, config: RarTokenizerConfig) {
    this.#w = weights;
    this.config = config;
  }

  get imageSize(): number {
    return this.config.resolution;
  }

  get tokenCount(): number {
    return (this.config.resolution / 2 ** (this.config.channelMult.length - 1)) ** 2;
  }

  get codes(): number {
    return this.config.codes;
  }

  get weightBytes(): number {
    return this.#w.bytes;
  }

  /** The codebook, [codes, channels]. */
  get codebook(): Tensor {
    return this.#w.get("quantize.embedding.weight");
  }

  encode(images: Tensor): Tensor {
    return encode(images, this.#w, this.config);
  }

  quantize(f: Tensor): { tokens: Tensor; fHat: Tensor } {
    return scope(() => {
      const tokens = quantize(f, this.#w);
      return { tokens, fHat: dequantize(tokens, this.#w) };
    });
  }

  dequantize(tokens: Tensor): Tensor {
    return dequantize(tokens, this.#w);
  }

  decode(fHat: Tensor): Tensor {
    return decode(fHat, this.#w, this.config);
  }

  transformerInput(tokens: Tensor): Tensor {
    return tokens.reshape(...tokens.shape);
  }

  dispose(): void {
    this.#w.dispose();
  }
}

/** A RAR transformer as a variant: tokens[batch, N] -> logits of those N tokens. */
export class RarVariant implements Variant<RarCondition> {
  readonly family = "rar";
  readonly name: string;
  readonly weightBytes: number;
  readonly transformer: RarTransformer;

  constructor(device: Device, weights: Weights, config: RarConfig, name: string) {
    this.name = name;
    this.weightBytes = weights.bytes;
    this.transformer = new RarTransformer(device, weights, config);
  }

  get classes(): number {
    return this.transformer.config.classes;
  }

  get tokenCount(): number {
    return this.transformer.config.tokenCount;
  }

  get codes(): number {
    return this.transformer.config.codes;
  }

  get prefixes(): readonly number[] {
    return Array.from({ length: this.tokenCount }, (_, i) => i + 1);
  }

  condition(labels: readonly (number | null)[], tokens?: number): RarCondition {
    return this.transformer.condition(labels, tokens === undefined ? undefined : tokens + 1);
  }

  logits(input: Tensor, condition: RarCondition): Tensor {
    return scope(() => slice(this.transformer.logits(input, condition), 1, 0, this.tokenCount));
  }

  features(input: Tensor, condition: RarCondition, tokens?: number): Tensor {
    return this.transformer.features(input, condition, tokens);
  }

  codeLogits(features: Tensor): Tensor {
    return this.transformer.codeLogits(features);
  }

  dispose(): void {
    this.transformer.dispose();
  }
}

/** Loads the tokenizer. Throws naming missing, unused or mis-shaped tensors. */
export async function loadRarFamily(
  device: Device,
  source: TensorSource,
  config: RarTokenizerConfig,
  options: LoadNetworkOptions = {},
): Promise<RarFamily> {
  const weights = await loadWeights(device, source, tokenizerSpecs(config), {
    ...options,
    what: "MaskGIT-VQ tokenizer",
  });
  return new RarFamily(weights, config);
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
    ignored: [/(^|\.)attn_mask$/],
    alternatives: new Map(rarVariants.map((row) => [row.title, transformerSpecs(row.config)])),
  });
  return new RarVariant(device, weights, config, name);
}
