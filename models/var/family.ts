/**
 * The VAR family and its variants behind the common interfaces.
 * The networks themselves are in vqvae.ts, quantizer.ts and transformer.ts.
 */
import type { Device, Tensor } from "../../core/tensor/mod.ts";
import type { TensorSource } from "../checkpoint/source.ts";
import type { Family, Variant } from "../family.ts";
import { type LoadNetworkOptions, loadWeights, type Weights } from "../weights.ts";
import { scaleStarts, type VarConfig, varVariants, type VqvaeConfig } from "./config.ts";
import { latentNames, type LatentStatistics, readLatentStatistics } from "./latent_statistics.ts";
import { MultiScaleQuantizer } from "./quantizer.ts";
import { transformerSpecs, varBuffers, type VarCondition, VarTransformer } from "./transformer.ts";
import { decode, encode, vqvaeSpecs } from "./vqvae.ts";

export class VarFamily implements Family {
  readonly name = "var";
  readonly valueRange = [-1, 1] as const;
  readonly config: VqvaeConfig;
  readonly quantizer: MultiScaleQuantizer;
  /** Of its inverse decoder, where that has them. */
  readonly latents: LatentStatistics | null;
  readonly #w: Weights;

  constructor(device: Device, weights: Weights, config: VqvaeConfig, latents: LatentStatistics | null = null) {
    this.#w = weights;
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
    return this.#w.bytes;
  }

  /** The codebook, [codes, channels]. */
  get codebook(): Tensor {
    return this.#w.get("quantize.embedding.weight");
  }

  get weights(): Weights {
    return this.#w;
  }

  encode(images: Tensor): Tensor {
    return encode(images, this.#w, this.config);
  }

  quantize(f: Tensor): { tokens: Tensor; fHat: Tensor } {
    return this.quantizer.quantize(f);
  }

  dequantize(tokens: Tensor): Tensor {
    return this.quantizer.dequantize(tokens);
  }

  decode(fHat: Tensor): Tensor {
    return decode(fHat, this.#w, this.config);
  }

  transformerInput(tokens: Tensor): Tensor {
    return this.quantizer.transformerInput(tokens);
  }

  dispose(): void {
    this.quantizer.dispose();
    this.#w.dispose();
  }
}

/** A VAR transformer as a variant: the quantiser's transformerInput -> logits of all tokens. */
export class VarVariant implements Variant<VarCondition> {
  readonly family = "var";
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

  features(input: Tensor, condition: VarCondition, tokens?: number): Tensor {
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
export async function loadVarFamily(
  device: Device,
  source: TensorSource,
  config: VqvaeConfig,
  options: LoadNetworkOptions = {},
): Promise<VarFamily> {
  const weights = await loadWeights(device, source, vqvaeSpecs(config), {
    ...options,
    what: "VAR multi-scale VQVAE",
    ignored: [/(^|\.)ema_vocab_hit_SV$/, latentNames],
  });
  return new VarFamily(device, weights, config, await readLatentStatistics(source, config));
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
    ignored: varBuffers,
    alternatives: new Map(varVariants.map((row) => [row.title, transformerSpecs(row.config)])),
  });
  return new VarVariant(device, weights, config, name);
}
