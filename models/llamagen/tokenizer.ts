/**
 * The VQ tokenizer of the LlamaGen family: image -> f -> tokens -> fHat -> image, channels last. Latents and codes have
 * unit length over channels. Source: FoundationVision/LlamaGen, tokenizer/tokenizer_image/vq_model.py; parameter names
 * are the checkpoint's.
 */
import {
  attention,
  checkpoint,
  conv2d,
  embedding,
  groupNorm,
  l2Normalize,
  linear,
  nearestCode,
  scope,
  type Tensor,
} from "../../core/tensor/mod.ts";
import type { EncodeOptions } from "../family.ts";
import type { Weights, WeightSpec } from "../weights.ts";
import type { LlamagenTokenizerConfig } from "./config.ts";

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
    const [batch, height, width, c] = x.shape, positions = height * width;
    const h = groupNorm(x, w.get("norm.weight"), w.get("norm.bias"), { groups }).reshape(batch, positions, c);
    const project = (name: string) =>
      linear(h, w.get(`${name}.weight`), w.get(`${name}.bias`)).reshape(batch, positions, 1, c);
    const mixed = attention(project("q"), project("k"), project("v")).reshape(batch, positions, c);
    const residual = x.reshape(batch, positions, c);
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
    const h = apply(attnBlock, apply(resnetBlock, x, w.at("0"), options), w.at("1"), options);
    return apply(resnetBlock, h, w.at("2"), options);
  });
}

/** Residual blocks of one resolution, each followed by attention at the lowest one. */
function level(x: Tensor, w: Weights, count: number, withAttention: boolean, options: BlockOptions): Tensor {
  for (let b = 0; b < count; b++) {
    x = apply(resnetBlock, x, w.at(`res.${b}`), options);
    if (withAttention) x = apply(attnBlock, x, w.at(`attn.${b}`), options);
  }
  return x;
}

/** images[batch, h, w, 3] in [-1, 1] -> the encoder's output before quant_conv, [batch, h / 16, w / 16, zChannels]. */
export function encoderOutput(
  images: Tensor,
  weights: Weights,
  config: LlamagenTokenizerConfig,
  { recompute = false }: EncodeOptions = {},
): Tensor {
  return scope(() => {
    const w = weights.at("encoder");
    const last = config.chMult.length - 1, groups = config.normGroups;
    let h = conv(images, w.at("conv_in"));
    for (let i = 0; i <= last; i++) {
      const input = h, own = w.at(`conv_blocks.${i}`);
      h = scope(() => {
        const y = level(input, own, config.resBlocks, i === last, { groups, recompute });
        // Zero padding on the right and the bottom only.
        return i === last ? y : conv(y, own.at("downsample.conv"), { stride: 2, padding: [0, 1, 0, 1] });
      });
      input.dispose();
    }
    h = middle(h, w.at("mid"), { groups, recompute });
    return conv(normSilu(h, w.at("norm_out"), groups), w.at("conv_out"));
  });
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

/** fHat[batch, h, w, codeChannels] -> images[batch, ...] aimed at [-1, 1], not clamped. Block 0 is the coarsest. */
export function decode(fHat: Tensor, weights: Weights, config: LlamagenTokenizerConfig): Tensor {
  return scope(() => {
    const w = weights.at("decoder");
    const last = config.chMult.length - 1, groups = config.normGroups;
    let h = conv(conv(fHat, weights.at("post_quant_conv"), {}), w.at("conv_in"));
    h = middle(h, w.at("mid"), { groups });
    for (let i = 0; i <= last; i++) {
      const input = h, own = w.at(`conv_blocks.${i}`);
      h = scope(() => {
        const y = level(input, own, config.resBlocks + 1, i === 0, { groups });
        return i === last ? y : conv(y, own.at("upsample.conv"), { padding: 1, upsample: 2 });
      });
      input.dispose();
    }
    return conv(normSilu(h, w.at("norm_out"), groups), w.at("conv_out"));
  });
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
  const specs: WeightSpec[] = [];
  const { ch, chMult, resBlocks, zChannels, codes, codeChannels } = config;
  const vector = (name: string, n: number) => specs.push({ name, shape: [n], role: "vector" });
  const norm = (name: string, c: number) => {
    vector(`${name}.weight`, c);
    vector(`${name}.bias`, c);
  };
  const convolution = (name: string, cOut: number, cIn: number, k: number, role: "conv" | "linear" = "conv") => {
    specs.push({ name: `${name}.weight`, shape: [cOut, cIn, k, k], role });
    vector(`${name}.bias`, cOut);
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
    for (const part of ["q", "k", "v", "proj_out"]) convolution(`${name}.${part}`, c, c, 1, "linear");
  };
  const mid = (name: string, c: number) => {
    block(`${name}.0`, c, c);
    attn(`${name}.1`, c);
    block(`${name}.2`, c, c);
  };
  /** Levels in the order of execution: `widths` of their results, `lowest` the one with attention. */
  const levels = (side: string, widths: readonly number[], first: number, count: number, lowest: number) => {
    widths.forEach((width, i) => {
      const name = `${side}.conv_blocks.${i}`;
      for (let b = 0; b < count; b++) block(`${name}.res.${b}`, b > 0 ? width : widths[i - 1] ?? first, width);
      for (let b = 0; b < count && i === lowest; b++) attn(`${name}.attn.${b}`, width);
      if (i === widths.length - 1) return;
      convolution(`${name}.${side === "encoder" ? "downsample" : "upsample"}.conv`, width, width, 3);
    });
  };
  const widths = chMult.map((m) => m * ch), coarsest = widths[widths.length - 1];

  convolution("encoder.conv_in", ch, 3, 3);
  levels("encoder", widths, ch, resBlocks, widths.length - 1);
  mid("encoder.mid", coarsest);
  norm("encoder.norm_out", coarsest);
  convolution("encoder.conv_out", zChannels, coarsest, 3);

  convolution("decoder.conv_in", coarsest, zChannels, 3);
  mid("decoder.mid", coarsest);
  levels("decoder", widths.toReversed(), coarsest, resBlocks + 1, 0);
  norm("decoder.norm_out", widths[0]);
  convolution("decoder.conv_out", 3, widths[0], 3);

  specs.push({ name: "quantize.embedding.weight", shape: [codes, codeChannels], role: "tensor" });
  convolution("quant_conv", codeChannels, zChannels, 1);
  convolution("post_quant_conv", zChannels, codeChannels, 1);
  return specs;
}
