/**
 * Encoder and decoder of VAR's VQVAE: image -> f and fHat -> image, channels last. Quantisation is in quantizer.ts.
 * Source: FoundationVision/VAR, models/basic_vae.py and models/vqvae.py; parameter names are the checkpoint's.
 */
import { attention, checkpoint, conv2d, groupNorm, linear, scope, type Tensor } from "../../core/tensor/mod.ts";
import type { Weights, WeightSpec } from "../weights.ts";
import type { VqvaeConfig } from "./config.ts";

function conv(x: Tensor, w: Weights, options: Parameters<typeof conv2d>[3] = { padding: 1 }): Tensor {
  return conv2d(x, w.get("weight"), w.get("bias"), options);
}

function normSilu(x: Tensor, w: Weights, groups?: number): Tensor {
  return groupNorm(x, w.get("weight"), w.get("bias"), { groups, activation: "silu" });
}

function resnetBlock(x: Tensor, w: Weights, groups?: number): Tensor {
  return scope(() => {
    // The inner scope frees the output of norm1 before conv2 needs memory.
    let h = scope(() => conv(normSilu(x, w.at("norm1"), groups), w.at("conv1")));
    h = normSilu(h, w.at("norm2"), groups);
    const shortcut = w.find("nin_shortcut.weight") ? conv(x, w.at("nin_shortcut"), {}) : x;
    return conv(h, w.at("conv2"), { padding: 1, residual: shortcut });
  });
}

/** Single-head attention over all positions; the 1x1 convolutions are linear maps of the channels. */
function attnBlock(x: Tensor, w: Weights, groups?: number): Tensor {
  return scope(() => {
    const [batch, height, width, c] = x.shape;
    const h = groupNorm(x, w.get("norm.weight"), w.get("norm.bias"), { groups }).reshape(batch, height * width, c);
    const project = (part: number) =>
      linear(h, w.get(`qkv.weight.${part}`), w.get(`qkv.bias.${part}`)).reshape(batch, height * width, 1, c);
    const mixed = attention(project(0), project(1), project(2)).reshape(batch, height * width, c);
    const residual = x.reshape(batch, height * width, c);
    return linear(mixed, w.get("proj_out.weight"), w.get("proj_out.bias"), { residual })
      .reshape(batch, height, width, c);
  });
}

interface BlockOptions {
  readonly groups?: number;
  readonly recompute?: boolean;
}

/** Applies a block. With `recompute`, the backward pass recomputes its activations instead of keeping them. */
function apply(block: typeof resnetBlock, x: Tensor, w: Weights, { groups, recompute }: BlockOptions): Tensor {
  return recompute ? checkpoint((input) => block(input, w, groups), x) : block(x, w, groups);
}

function middle(x: Tensor, w: Weights, options: BlockOptions): Tensor {
  return scope(() => {
    const h = apply(attnBlock, apply(resnetBlock, x, w.at("block_1"), options), w.at("attn_1"), options);
    return apply(resnetBlock, h, w.at("block_2"), options);
  });
}

/** Residual blocks of one level, each followed by attention at the lowest resolution. */
function level(x: Tensor, w: Weights, count: number, withAttention: boolean, options: BlockOptions): Tensor {
  for (let b = 0; b < count; b++) {
    x = apply(resnetBlock, x, w.at(`block.${b}`), options);
    if (withAttention) x = apply(attnBlock, x, w.at(`attn.${b}`), options);
  }
  return x;
}

/** `recompute`: only the input of every block is kept; the backward pass recomputes the other activations. */
export interface EncodeOptions {
  readonly recompute?: boolean;
}

/** images[batch, size, size, 3] in [-1, 1] -> the encoder's output before quant_conv, [batch, h, w, zChannels]. */
export function encoderOutput(
  images: Tensor,
  weights: Weights,
  config: VqvaeConfig,
  { recompute = false }: EncodeOptions = {},
): Tensor {
  return scope(() => {
    const w = weights.at("encoder");
    const last = config.chMult.length - 1, groups = config.normGroups;
    let h = conv(images, w.at("conv_in"));
    for (let i = 0; i <= last; i++) {
      const input = h;
      h = scope(() => {
        const y = level(input, w.at(`down.${i}`), config.resBlocks, i === last, { groups, recompute });
        // Zero padding on the right and the bottom only.
        return i === last ? y : conv(y, w.at(`down.${i}.downsample.conv`), { stride: 2, padding: [0, 1, 0, 1] });
      });
      input.dispose();
    }
    h = middle(h, w.at("mid"), { groups, recompute });
    return conv(normSilu(h, w.at("norm_out"), groups), w.at("conv_out"));
  });
}

/** images[batch, size, size, 3] in [-1, 1] -> f[batch, h, w, zChannels]. */
export function encode(images: Tensor, weights: Weights, config: VqvaeConfig, options: EncodeOptions = {}): Tensor {
  return scope(() => conv(encoderOutput(images, weights, config, options), weights.at("quant_conv")));
}

/** fHat[batch, h, w, zChannels] -> images[batch, size, size, 3] aimed at [-1, 1], not clamped. */
export function decode(fHat: Tensor, weights: Weights, config: VqvaeConfig): Tensor {
  return scope(() => {
    const w = weights.at("decoder");
    const last = config.chMult.length - 1, groups = config.normGroups;
    let h = conv(conv(fHat, weights.at("post_quant_conv")), w.at("conv_in"));
    h = middle(h, w.at("mid"), { groups });
    for (let i = last; i >= 0; i--) {
      const input = h;
      h = scope(() => {
        const y = level(input, w.at(`up.${i}`), config.resBlocks + 1, i === last, { groups });
        return i === 0 ? y : conv(y, w.at(`up.${i}.upsample.conv`), { padding: 1, upsample: 2 });
      });
      input.dispose();
    }
    return conv(normSilu(h, w.at("norm_out"), groups), w.at("conv_out"));
  });
}

/** Every parameter of the VQVAE, in the checkpoint's order. `quantize.ema_vocab_hit_SV` is a buffer and not used. */
export function vqvaeSpecs(config: VqvaeConfig): WeightSpec[] {
  const specs: WeightSpec[] = [];
  const { ch, chMult, resBlocks, zChannels, codes, sharedPhi } = config;
  const vector = (name: string, n: number, split?: number) => specs.push({ name, shape: [n], role: "vector", split });
  const norm = (name: string, c: number) => {
    vector(`${name}.weight`, c);
    vector(`${name}.bias`, c);
  };
  const convolution = (name: string, cOut: number, cIn: number, k: number) => {
    specs.push({ name: `${name}.weight`, shape: [cOut, cIn, k, k], role: "conv" });
    vector(`${name}.bias`, cOut);
  };
  const pointwise = (name: string, cOut: number, cIn: number, split?: number) => {
    specs.push({ name: `${name}.weight`, shape: [cOut, cIn, 1, 1], role: "linear", split });
    vector(`${name}.bias`, cOut, split);
  };
  const block = (name: string, cIn: number, cOut: number) => {
    norm(`${name}.norm1`, cIn);
    convolution(`${name}.conv1`, cOut, cIn, 3);
    norm(`${name}.norm2`, cOut);
    convolution(`${name}.conv2`, cOut, cOut, 3);
    if (cIn !== cOut) convolution(`${name}.nin_shortcut`, cOut, cIn, 1);
  };
  const attn = (name: string, c: number) => {
    norm(`${name}.norm`, c);
    pointwise(`${name}.qkv`, 3 * c, c, 3);
    pointwise(`${name}.proj_out`, c, c);
  };
  const mid = (name: string, c: number) => {
    block(`${name}.block_1`, c, c);
    attn(`${name}.attn_1`, c);
    block(`${name}.block_2`, c, c);
  };
  const widths = chMult.map((m) => m * ch);
  const last = widths.length - 1;
  const levels = (side: "down" | "up", count: number, before: (i: number) => number) => {
    widths.forEach((width, i) => {
      const name = `${side === "down" ? "encoder" : "decoder"}.${side}.${i}`;
      for (let b = 0; b < count; b++) block(`${name}.block.${b}`, b > 0 ? width : before(i), width);
      for (let b = 0; b < count && i === last; b++) attn(`${name}.attn.${b}`, width);
      if (side === "down" && i < last) convolution(`${name}.downsample.conv`, width, width, 3);
      if (side === "up" && i > 0) convolution(`${name}.upsample.conv`, width, width, 3);
    });
  };

  convolution("encoder.conv_in", ch, 3, 3);
  levels("down", resBlocks, (i) => widths[i - 1] ?? ch);
  mid("encoder.mid", widths[last]);
  norm("encoder.norm_out", widths[last]);
  convolution("encoder.conv_out", zChannels, widths[last], 3);

  convolution("decoder.conv_in", widths[last], zChannels, 3);
  mid("decoder.mid", widths[last]);
  levels("up", resBlocks + 1, (i) => widths[i + 1] ?? widths[last]);
  norm("decoder.norm_out", widths[0]);
  convolution("decoder.conv_out", 3, widths[0], 3);

  for (let k = 0; k < sharedPhi; k++) {
    const name = `quantize.quant_resi.qresi_ls.${k}`;
    specs.push({ name: `${name}.weight`, shape: [zChannels, zChannels, 3, 3], role: "conv", ...phiWeight });
    specs.push({ name: `${name}.bias`, shape: [zChannels], role: "vector", ...phiBias });
  }
  specs.push({ name: "quantize.embedding.weight", shape: [codes, zChannels], role: "tensor" });
  convolution("quant_conv", zChannels, zChannels, 3);
  convolution("post_quant_conv", zChannels, zChannels, 3);
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
