/**
 * The VQ tokenizer of the LlamaGen family: image -> f -> tokens -> fHat -> image, channels last. Latents and codes have
 * unit length over channels. Source: FoundationVision/LlamaGen, tokenizer/tokenizer_image/vq_model.py; parameter names
 * are the checkpoint's.
 */
import { embedding, l2Normalize, nearestCode, scope, type Tensor } from "../../core/tensor/mod.ts";
import type { EncodeOptions } from "../family.ts";
import { conv, vqganDecode, vqganEncode, type VqganNames, VqganSpecs } from "../vqgan.ts";
import type { Weights, WeightSpec } from "../weights.ts";
import type { LlamagenTokenizerConfig } from "./config.ts";

/** Levels are numbered in the order of execution, so the decoder's first is the coarsest. */
const names: VqganNames = {
  level: (side, i, last) => `conv_blocks.${side === "encoder" ? i : last - i}`,
  blocks: "res",
  middle: ["0", "1", "2"],
  fusedAttention: false,
};

/** images[batch, h, w, 3] in [-1, 1] -> the encoder's output before quant_conv, [batch, h / 16, w / 16, zChannels]. */
export function encoderOutput(
  images: Tensor,
  weights: Weights,
  config: LlamagenTokenizerConfig,
  options: EncodeOptions = {},
): Tensor {
  return vqganEncode(images, weights, config, names, options);
}

/** The latents before they get unit length, [batch, h, w, codeChannels]. */
export function project(z: Tensor, weights: Weights): Tensor {
  return conv(z, weights.at("quant_conv"), {});
}

/** images[batch, h, w, 3] in [-1, 1] -> f[batch, h, w, codeChannels], of length 1 over channels. */
export function encode(
  images: Tensor,
  weights: Weights,
  config: LlamagenTokenizerConfig,
  options: EncodeOptions = {},
): Tensor {
  return scope(() => l2Normalize(project(encoderOutput(images, weights, config, options), weights)));
}

/** fHat[batch, h, w, codeChannels] -> images[batch, ...] aimed at [-1, 1], not clamped. */
export function decode(fHat: Tensor, weights: Weights, config: LlamagenTokenizerConfig): Tensor {
  return scope(() => vqganDecode(conv(fHat, weights.at("post_quant_conv"), {}), weights, config, names));
}

/** The codebook, [codes, codeChannels], its rows of length 1. Files may hold rows of any length. */
export function unitCodes(weights: Weights): Tensor {
  return l2Normalize(weights.get("quantize.embedding.weight"));
}

/** f[batch, h, w, c] -> tokens[batch, h * w] (i32), the nearest codes in raster order. */
export function quantize(f: Tensor, weights: Weights): Tensor {
  const [batch, h, w, c] = f.shape;
  return scope(() => nearestCode(f.reshape(batch, h * w, c), unitCodes(weights)));
}

/** tokens[batch, h * w] -> the codes, [batch, h * w, c]. */
export function lookUp(tokens: Tensor, weights: Weights): Tensor {
  return scope(() => embedding(unitCodes(weights), tokens));
}

/** Every parameter of the tokenizer. `quantize.codebook_used` is a buffer and not used. */
export function tokenizerSpecs(config: LlamagenTokenizerConfig): WeightSpec[] {
  const { zChannels, codes, codeChannels } = config;
  const list = new VqganSpecs();
  list.networks(config, names);
  list.specs.push({ name: "quantize.embedding.weight", shape: [codes, codeChannels], role: "tensor" });
  list.convolution("quant_conv", codeChannels, zChannels, 1);
  list.convolution("post_quant_conv", zChannels, codeChannels, 1);
  return list.specs;
}
