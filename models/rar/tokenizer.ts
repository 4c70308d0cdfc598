/**
 * The MaskGIT-VQ tokenizer of the RAR family: image -> f -> tokens -> fHat -> image, channels last.
 * Source: bytedance/1d-tokenizer, modeling/modules/maskgit_vqgan.py; parameter names are the checkpoint's.
 */
import { avgPool2d, checkpoint, conv2d, embedding, nearestCode, scope, type Tensor } from "../../core/tensor/mod.ts";
import { normSilu } from "../vqgan.ts";
import type { Weights, WeightSpec } from "../weights.ts";
import type { RarTokenizerConfig } from "./config.ts";

/**
 * A residual block without convolution biases. When the width changes, the official code applies the 1x1 shortcut to
 * the result of conv2 and drops the input: h + nin(h).
 */
function resnetBlock(x: Tensor, w: Weights, groups?: number): Tensor {
  return scope(() => {
    // The inner scope frees the output of norm1 before conv2 needs memory.
    let h = scope(() => conv2d(normSilu(x, w.at("norm1"), groups), w.get("conv1.weight"), undefined, { padding: 1 }));
    h = normSilu(h, w.at("norm2"), groups);
    const shortcut = w.find("nin_shortcut.weight");
    if (!shortcut) return conv2d(h, w.get("conv2.weight"), undefined, { padding: 1, residual: x });
    h = conv2d(h, w.get("conv2.weight"), undefined, { padding: 1 });
    return conv2d(h, shortcut, undefined, { residual: h });
  });
}

interface BlockOptions {
  readonly groups?: number;
  readonly recompute?: boolean;
}

function blocks(x: Tensor, w: Weights, prefix: string, count: number, { groups, recompute }: BlockOptions): Tensor {
  for (let i = 0; i < count; i++) {
    const own = w.at(`${prefix}.${i}`);
    x = recompute ? checkpoint((input) => resnetBlock(input, own, groups), x) : resnetBlock(x, own, groups);
  }
  return x;
}

/**
 * images[batch, h, w, 3] in [0, 1] -> f[batch, h / 2^(levels - 1), w / 2^(levels - 1), zChannels]. With `recompute`, a
 * tape keeps only the input of every block and computes the rest again on the way back.
 */
export function encode(
  images: Tensor,
  weights: Weights,
  config: RarTokenizerConfig,
  { recompute = false }: { readonly recompute?: boolean } = {},
): Tensor {
  return scope(() => {
    const w = weights.at("encoder");
    const levels = config.channelMult.length, groups = config.normGroups;
    let h = conv2d(images, w.get("conv_in.weight"), undefined, { padding: 1 });
    for (let i = 0; i < levels; i++) {
      const input = h;
      h = scope(() => {
        const y = blocks(input, w, `down.${i}.block`, config.resBlocks, { groups, recompute });
        return i < levels - 1 ? avgPool2d(y, 2) : y;
      });
      input.dispose();
    }
    h = scope(() => blocks(h, w, "mid", config.resBlocks, { groups, recompute }));
    h = normSilu(h, w.at("norm_out"), groups);
    return conv2d(h, w.get("conv_out.weight"), w.get("conv_out.bias"));
  });
}

/** fHat[batch, h, w, zChannels] -> images[batch, ...] aimed at [0, 1], not clamped. */
export function decode(fHat: Tensor, weights: Weights, config: RarTokenizerConfig): Tensor {
  return scope(() => {
    const w = weights.at("decoder");
    const groups = config.normGroups;
    let h = conv2d(fHat, w.get("conv_in.weight"), w.get("conv_in.bias"), { padding: 1 });
    h = scope(() => blocks(h, w, "mid", config.resBlocks, { groups }));
    for (let i = config.channelMult.length - 1; i >= 0; i--) {
      const input = h;
      h = scope(() => {
        const y = blocks(input, w, `up.${i}.block`, config.resBlocks, { groups });
        if (i === 0) return y;
        const up = w.at(`up.${i}.upsample_conv`);
        return conv2d(y, up.get("weight"), up.get("bias"), { padding: 1, upsample: 2 });
      });
      input.dispose();
    }
    h = normSilu(h, w.at("norm_out"), groups);
    return conv2d(h, w.get("conv_out.weight"), w.get("conv_out.bias"), { padding: 1 });
  });
}

/** f[batch, h, w, c] -> tokens[batch, h * w] (i32), the nearest codes in raster order. */
export function quantize(f: Tensor, weights: Weights): Tensor {
  const [batch, h, w, c] = f.shape;
  return scope(() => nearestCode(f.reshape(batch, h * w, c), weights.get("quantize.embedding.weight")));
}

/** tokens[batch, h * w] -> fHat[batch, h, w, c], the exact codebook entries. */
export function dequantize(tokens: Tensor, weights: Weights): Tensor {
  const side = Math.sqrt(tokens.shape[1]);
  return scope(() => embedding(weights.get("quantize.embedding.weight"), tokens).reshape(-1, side, side, zOf(weights)));
}

function zOf(weights: Weights): number {
  return weights.get("quantize.embedding.weight").shape[1];
}

/** Every parameter of the tokenizer, in the checkpoint's order. */
export function tokenizerSpecs(config: RarTokenizerConfig): WeightSpec[] {
  const specs: WeightSpec[] = [];
  const { hiddenChannels, channelMult, resBlocks, zChannels } = config;
  const norm = (name: string, c: number) => {
    specs.push({ name: `${name}.weight`, shape: [c], role: "vector" }, {
      name: `${name}.bias`,
      shape: [c],
      role: "vector",
    });
  };
  const conv = (name: string, cOut: number, cIn: number, k: number, bias: boolean) => {
    specs.push({ name: `${name}.weight`, shape: [cOut, cIn, k, k], role: "conv" });
    if (bias) specs.push({ name: `${name}.bias`, shape: [cOut], role: "vector" });
  };
  const block = (name: string, cIn: number, cOut: number) => {
    norm(`${name}.norm1`, cIn);
    conv(`${name}.conv1`, cOut, cIn, 3, false);
    norm(`${name}.norm2`, cOut);
    conv(`${name}.conv2`, cOut, cOut, 3, false);
    if (cIn !== cOut) conv(`${name}.nin_shortcut`, cOut, cOut, 1, false);
  };
  const widths = channelMult.map((m) => m * hiddenChannels);
  const last = widths[widths.length - 1];

  conv("encoder.conv_in", hiddenChannels, 3, 3, false);
  widths.forEach((width, i) => {
    for (let b = 0; b < resBlocks; b++) {
      block(`encoder.down.${i}.block.${b}`, b > 0 ? width : widths[i - 1] ?? hiddenChannels, width);
    }
  });
  for (let b = 0; b < resBlocks; b++) block(`encoder.mid.${b}`, last, last);
  norm("encoder.norm_out", last);
  conv("encoder.conv_out", zChannels, last, 1, true);

  conv("decoder.conv_in", last, zChannels, 3, true);
  for (let b = 0; b < resBlocks; b++) block(`decoder.mid.${b}`, last, last);
  widths.forEach((width, i) => {
    for (let b = 0; b < resBlocks; b++) {
      block(`decoder.up.${i}.block.${b}`, b > 0 ? width : widths[i + 1] ?? last, width);
    }
    if (i > 0) conv(`decoder.up.${i}.upsample_conv`, width, width, 3, true);
  });
  norm("decoder.norm_out", widths[0]);
  conv("decoder.conv_out", 3, widths[0], 3, true);
  specs.push({ name: "quantize.embedding.weight", shape: [config.codes, zChannels], role: "tensor" });
  return specs;
}
