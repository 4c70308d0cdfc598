/**
 * Encoder and decoder of VQGAN (arXiv 2012.09841) as VAR and LlamaGen have them, channels last, and their parameters:
 * residual blocks, self-attention at the lowest resolution, resampling by convolution. Names of blocks differ between
 * checkpoints. What is around them (quantiser, maps before and after it) is the families'.
 * Sources: FoundationVision/VAR, models/basic_vae.py; FoundationVision/LlamaGen, tokenizer/tokenizer_image/vq_model.py.
 */
import { attention, checkpoint, conv2d, groupNorm, linear, scope, type Tensor } from "../core/tensor/mod.ts";
import type { EncodeOptions } from "./family.ts";
import type { Weights, WeightSpec } from "./weights.ts";

/** Sizes of both networks. */
export interface VqganConfig {
  readonly ch: number;
  /** Widths in units of `ch`, from the highest resolution to the lowest. */
  readonly chMult: readonly number[];
  /** Residual blocks per level; the decoder has one more. */
  readonly resBlocks: number;
  readonly zChannels: number;
  /** Groups of every group norm; 32 in the official code. */
  readonly normGroups?: number;
}

/** What a checkpoint calls the parts. */
export interface VqganNames {
  /** Level `i`, from the highest resolution 0 to `last`. */
  level(side: "encoder" | "decoder", i: number, last: number): string;
  /** The residual blocks of a level. */
  readonly blocks: string;
  /** The three blocks between encoder and decoder levels: residual, attention, residual. */
  readonly middle: readonly [string, string, string];
  /** Whether query, key and value are one map `qkv`, or `q`, `k` and `v`. */
  readonly fusedAttention: boolean;
}

/** A convolution with its bias. */
export function conv(x: Tensor, w: Weights, options: Parameters<typeof conv2d>[3] = { padding: 1 }): Tensor {
  return conv2d(x, w.get("weight"), w.get("bias"), options);
}

/** Group norm and SiLU. */
export function normSilu(x: Tensor, w: Weights, groups?: number): Tensor {
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
    const isFused = w.find("qkv.weight.0") !== undefined;
    const [q, k, v] = ["q", "k", "v"].map((name, part) => {
      const [weight, bias] = isFused ? [`qkv.weight.${part}`, `qkv.bias.${part}`] : [`${name}.weight`, `${name}.bias`];
      return linear(h, w.get(weight), w.get(bias)).reshape(batch, positions, 1, c);
    });
    const mixed = attention(q, k, v).reshape(batch, positions, c);
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

function middle(x: Tensor, w: Weights, names: VqganNames, options: BlockOptions): Tensor {
  const [first, between, last] = names.middle.map((name) => w.at(`mid.${name}`));
  return scope(() =>
    apply(resnetBlock, apply(attnBlock, apply(resnetBlock, x, first, options), between, options), last, options)
  );
}

/** Residual blocks of one level, each followed by attention at the lowest resolution. */
function level(
  x: Tensor,
  w: Weights,
  { blocks, count, withAttention, ...options }: BlockOptions & {
    readonly blocks: string;
    readonly count: number;
    readonly withAttention: boolean;
  },
): Tensor {
  for (let b = 0; b < count; b++) {
    x = apply(resnetBlock, x, w.at(`${blocks}.${b}`), options);
    if (withAttention) x = apply(attnBlock, x, w.at(`attn.${b}`), options);
  }
  return x;
}

/** images[batch, h, w, 3] -> the encoder's output, [batch, h / 2^last, w / 2^last, zChannels]. */
export function vqganEncode(
  images: Tensor,
  weights: Weights,
  { chMult, resBlocks, normGroups: groups }: VqganConfig,
  names: VqganNames,
  { recompute = false }: EncodeOptions = {},
): Tensor {
  return scope(() => {
    const w = weights.at("encoder"), last = chMult.length - 1;
    let h = conv(images, w.at("conv_in"));
    for (let i = 0; i <= last; i++) {
      const input = h, own = w.at(names.level("encoder", i, last));
      h = scope(() => {
        const withAttention = i === last;
        const y = level(input, own, { blocks: names.blocks, count: resBlocks, withAttention, groups, recompute });
        // Zero padding on the right and the bottom only.
        return i === last ? y : conv(y, own.at("downsample.conv"), { stride: 2, padding: [0, 1, 0, 1] });
      });
      input.dispose();
    }
    h = middle(h, w, names, { groups, recompute });
    return conv(normSilu(h, w.at("norm_out"), groups), w.at("conv_out"));
  });
}

/** z[batch, h, w, zChannels] -> images[batch, h * 2^last, w * 2^last, 3]. */
export function vqganDecode(
  z: Tensor,
  weights: Weights,
  { chMult, resBlocks, normGroups: groups }: VqganConfig,
  names: VqganNames,
): Tensor {
  return scope(() => {
    const w = weights.at("decoder"), last = chMult.length - 1;
    let h = middle(conv(z, w.at("conv_in")), w, names, { groups });
    for (let i = last; i >= 0; i--) {
      const input = h, own = w.at(names.level("decoder", i, last));
      h = scope(() => {
        const y = level(input, own, { blocks: names.blocks, count: resBlocks + 1, withAttention: i === last, groups });
        return i === 0 ? y : conv(y, own.at("upsample.conv"), { padding: 1, upsample: 2 });
      });
      input.dispose();
    }
    return conv(normSilu(h, w.at("norm_out"), groups), w.at("conv_out"));
  });
}

/** A list of parameters in the making. */
export class VqganSpecs {
  readonly specs: WeightSpec[] = [];

  /** A convolution with its bias. */
  convolution(name: string, cOut: number, cIn: number, k: number): void {
    this.specs.push({ name: `${name}.weight`, shape: [cOut, cIn, k, k], role: "conv" });
    this.#vector(`${name}.bias`, cOut);
  }

  /** Every parameter of encoder and decoder. */
  networks({ ch, chMult, resBlocks, zChannels }: VqganConfig, names: VqganNames): void {
    const widths = chMult.map((m) => m * ch), last = widths.length - 1;
    const levels = (side: "encoder" | "decoder", count: number, before: (i: number) => number) => {
      widths.forEach((width, i) => {
        const name = `${side}.${names.level(side, i, last)}`;
        for (let b = 0; b < count; b++) this.#block(`${name}.${names.blocks}.${b}`, b > 0 ? width : before(i), width);
        for (let b = 0; b < count && i === last; b++) this.#attention(`${name}.attn.${b}`, width, names);
        if (side === "encoder" && i < last) this.convolution(`${name}.downsample.conv`, width, width, 3);
        if (side === "decoder" && i > 0) this.convolution(`${name}.upsample.conv`, width, width, 3);
      });
    };
    this.convolution("encoder.conv_in", ch, 3, 3);
    levels("encoder", resBlocks, (i) => widths[i - 1] ?? ch);
    this.#middle("encoder.mid", widths[last], names);
    this.#norm("encoder.norm_out", widths[last]);
    this.convolution("encoder.conv_out", zChannels, widths[last], 3);

    this.convolution("decoder.conv_in", widths[last], zChannels, 3);
    this.#middle("decoder.mid", widths[last], names);
    levels("decoder", resBlocks + 1, (i) => widths[i + 1] ?? widths[last]);
    this.#norm("decoder.norm_out", widths[0]);
    this.convolution("decoder.conv_out", 3, widths[0], 3);
  }

  #vector(name: string, n: number, split?: number): void {
    this.specs.push({ name, shape: [n], role: "vector", split });
  }

  #norm(name: string, c: number): void {
    this.#vector(`${name}.weight`, c);
    this.#vector(`${name}.bias`, c);
  }

  #pointwise(name: string, cOut: number, cIn: number, split?: number): void {
    this.specs.push({ name: `${name}.weight`, shape: [cOut, cIn, 1, 1], role: "linear", split });
    this.#vector(`${name}.bias`, cOut, split);
  }

  #block(name: string, cIn: number, cOut: number): void {
    this.#norm(`${name}.norm1`, cIn);
    this.convolution(`${name}.conv1`, cOut, cIn, 3);
    this.#norm(`${name}.norm2`, cOut);
    this.convolution(`${name}.conv2`, cOut, cOut, 3);
    if (cIn !== cOut) this.convolution(`${name}.nin_shortcut`, cOut, cIn, 1);
  }

  #attention(name: string, c: number, { fusedAttention }: VqganNames): void {
    this.#norm(`${name}.norm`, c);
    if (fusedAttention) this.#pointwise(`${name}.qkv`, 3 * c, c, 3);
    else for (const part of ["q", "k", "v"]) this.#pointwise(`${name}.${part}`, c, c);
    this.#pointwise(`${name}.proj_out`, c, c);
  }

  #middle(name: string, c: number, names: VqganNames): void {
    const [first, between, last] = names.middle.map((part) => `${name}.${part}`);
    this.#block(first, c, c);
    this.#attention(between, c, names);
    this.#block(last, c, c);
  }
}
