/**
 * Encoder and decoder of VAR's VQVAE: image -> f and fHat -> image, channels last. Quantisation is in quantizer.ts, the
 * blocks are those of all VQGANs.
 * Source: FoundationVision/VAR, models/basic_vae.py and models/vqvae.py; parameter names are the checkpoint's.
 */
import { scope, type Tensor } from "../../core/tensor/mod.ts";
import type { EncodeOptions } from "../family.ts";
import { conv, vqganDecode, vqganEncode, type VqganNames, VqganSpecs } from "../vqgan.ts";
import type { Weights, WeightSpec } from "../weights.ts";
import type { VqvaeConfig } from "./config.ts";

const names: VqganNames = {
  level: (side, i) => `${side === "encoder" ? "down" : "up"}.${i}`,
  blocks: "block",
  middle: ["block_1", "attn_1", "block_2"],
  fusedAttention: true,
};

/** images[batch, size, size, 3] in [-1, 1] -> the encoder's output before quant_conv, [batch, h, w, zChannels]. */
export function encoderOutput(
  images: Tensor,
  weights: Weights,
  config: VqvaeConfig,
  options: EncodeOptions = {},
): Tensor {
  return vqganEncode(images, weights, config, names, options);
}

/** images[batch, size, size, 3] in [-1, 1] -> f[batch, h, w, zChannels]. */
export function encode(images: Tensor, weights: Weights, config: VqvaeConfig, options: EncodeOptions = {}): Tensor {
  return scope(() => conv(encoderOutput(images, weights, config, options), weights.at("quant_conv")));
}

/** fHat[batch, h, w, zChannels] -> images[batch, size, size, 3] aimed at [-1, 1], not clamped. */
export function decode(fHat: Tensor, weights: Weights, config: VqvaeConfig): Tensor {
  return scope(() => vqganDecode(conv(fHat, weights.at("post_quant_conv")), weights, config, names));
}

/** Every parameter of the VQVAE, in the checkpoint's order. `quantize.ema_vocab_hit_SV` is a buffer and not used. */
export function vqvaeSpecs(config: VqvaeConfig): WeightSpec[] {
  const { zChannels, codes, sharedPhi } = config;
  const list = new VqganSpecs(), { specs } = list;
  list.networks(config, names);
  for (let k = 0; k < sharedPhi; k++) {
    const name = `quantize.quant_resi.qresi_ls.${k}`;
    specs.push({ name: `${name}.weight`, shape: [zChannels, zChannels, 3, 3], role: "conv", ...phiWeight });
    specs.push({ name: `${name}.bias`, shape: [zChannels], role: "vector", ...phiBias });
  }
  specs.push({ name: "quantize.embedding.weight", shape: [codes, zChannels], role: "tensor" });
  list.convolution("quant_conv", zChannels, zChannels, 3);
  list.convolution("post_quant_conv", zChannels, zChannels, 3);
  return specs;
}

/** Share of the convolution in Phi: Phi(h) = (1 - r) h + r (conv(h) + bias). Official value of `quant_resi`. */
const phiRatio = 0.5;

/** Folds Phi's identity part into its 3x3 kernel [c, c, 3, 3], so that Phi is one convolution. */
const phiWeight: Pick<WeightSpec, "transform" | "inverse"> = {
  transform: (weight) => addCentre(weight.map((value) => phiRatio * value), 1 - phiRatio),
  inverse: (weight) => addCentre(weight.slice(), phiRatio - 1).map((value) => value / phiRatio),
};

const phiBias: Pick<WeightSpec, "transform" | "inverse"> = {
  transform: (bias) => bias.map((value) => phiRatio * value),
  inverse: (bias) => bias.map((value) => value / phiRatio),
};

/** Adds to the centre of the 3x3 kernels that map a channel onto itself. */
function addCentre(weight: Float32Array<ArrayBuffer>, value: number): Float32Array<ArrayBuffer> {
  const c = Math.sqrt(weight.length / 9);
  for (let i = 0; i < c; i++) weight[(i * c + i) * 9 + 4] += value;
  return weight;
}
