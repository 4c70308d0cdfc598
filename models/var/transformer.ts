/**
 * The VAR transformer: next-scale prediction with block-causal attention and adaLN from the class. Source:
 * FoundationVision/VAR, models/var.py and models/basic_var.py (arXiv 2404.02905); parameter names are the checkpoint's.
 */
import {
  add,
  attention,
  blockCausalVisible,
  concat,
  type Device,
  embedding,
  fromArray,
  keep,
  KeyValueCache,
  l2Normalize,
  layerNorm,
  linear,
  type Modulation,
  mul,
  scope,
  silu,
  slice,
  type Tensor,
} from "../../core/tensor/mod.ts";
import type { Condition } from "../family.ts";
import type { Weights, WeightSpec } from "../weights.ts";
import { scaleStarts } from "../family.ts";
import { tokenCount, type VarConfig } from "./config.ts";

/**
 * Everything that depends on the class alone: its embedding [1 or batch, 1, d] and the adaLN tables of every block,
 * [1 or batch, 1, 6, d] in the order gamma1, gamma2, scale1, scale2, shift1, shift2, and of the head, [.., 2, d].
 */
export interface VarCondition extends Condition {
  readonly embedded: Tensor;
  readonly blocks: readonly Tensor[];
  readonly head: Tensor;
}

/** Keys and values of the scales seen so far, for decoding scale by scale. */
export interface VarState {
  readonly caches: readonly KeyValueCache[];
  readonly batch: number;
  dispose(): void;
}

export class VarTransformer {
  readonly config: VarConfig;
  readonly #device: Device;
  readonly #w: Weights;
  readonly #starts: readonly number[];
  /** pos_1LC + lvl_embed[level] of every row, [1, rows, d]. */
  readonly #positions: Tensor;
  readonly #visible: Tensor;
  readonly #owned: Tensor[];

  constructor(device: Device, weights: Weights, config: VarConfig) {
    this.#device = device;
    this.#w = weights;
    this.config = config;
    this.#starts = scaleStarts(config.patchNums);
    const levels = config.patchNums.flatMap((pn, si) => new Array<number>(pn * pn).fill(si));
    this.#positions = scope(() => {
      const index = fromArray(device, Int32Array.from(levels), [1, levels.length]);
      return keep(add(weights.get("pos_1LC"), embedding(weights.get("lvl_embed.weight"), index)));
    });
    this.#visible = keep(blockCausalVisible(device, config.patchNums.map((pn) => pn * pn)));
    this.#owned = [this.#positions, this.#visible];
  }

  /** Number of rows, one per token. */
  get rows(): number {
    return tokenCount(this.config.patchNums);
  }

  /** Row of class_emb of a class, or of the unconditional one for null. */
  #classRow(label: number | null): number {
    const { classes } = this.config;
    if (label === null) return classes;
    if (!(Number.isInteger(label) && label >= 0 && label < classes)) {
      throw new Error(`VAR: expected a class from 0 to ${classes - 1}, got ${label}`);
    }
    return label;
  }

  /** Computes what depends on the class; one label for a whole batch, or one per image. Dispose it when done. */
  condition(labels: readonly (number | null)[]): VarCondition {
    const { depth, embedDim: d, sharedAdaLn } = this.config;
    const batch = labels.length;
    const tables = scope(() => {
      const index = fromArray(this.#device, Int32Array.from(labels, (label) => this.#classRow(label)), [batch, 1]);
      const embedded = embedding(this.#w.get("class_emb.weight"), index);
      const activated = silu(embedded);
      const table = (w: Weights, chunks: number) =>
        linear(activated, w.get("weight"), w.get("bias")).reshape(batch, 1, chunks, d);
      let blocks: Tensor[];
      if (sharedAdaLn) {
        const shared = table(this.#w.at("shared_ada_lin.1"), 6);
        blocks = Array.from({ length: depth }, (_, i) => add(shared, this.#w.get(`blocks.${i}.ada_gss`)));
      } else {
        blocks = Array.from({ length: depth }, (_, i) => table(this.#w.at(`blocks.${i}.ada_lin.1`), 6));
      }
      return keep({ embedded, blocks, head: table(this.#w.at("head_nm.ada_lin.1"), 2) });
    });
    const all = [tables.embedded, ...tables.blocks, tables.head];
    return {
      ...tables,
      batch,
      bytes: all.reduce((sum, tensor) => sum + tensor.bytes, 0),
      dispose: () => all.forEach((tensor) => tensor.dispose()),
    };
  }

  /**
   * Teacher-forced logits[batch, rows, codes] from the quantiser's transformerInput[batch, rows - pn_0^2,
   * codeChannels].
   */
  logits(input: Tensor, condition: VarCondition): Tensor {
    return scope(() => this.codeLogits(this.hiddenStates(input, condition)));
  }

  /**
   * What the logits of the first n tokens, whole scales, are a linear map of, [batch, n, d]: later scales do not
   * matter. `input` is that of all scales, as for `logits`.
   */
  hiddenStates(input: Tensor, condition: VarCondition, n = this.rows): Tensor {
    const first = this.#starts[1];
    const [batch, rows, channels] = input.shape;
    if (rows !== this.rows - first || channels !== this.config.codeChannels) {
      throw new Error(
        `VAR: input expects [?, ${this.rows - first}, ${this.config.codeChannels}], got [${input.shape.join(", ")}]`,
      );
    }
    if (n === 0 || !this.#starts.includes(n)) {
      throw new Error(`VAR: expected the tokens of whole scales (${this.#starts.slice(1).join(", ")}), got ${n}`);
    }
    return scope(() => {
      const parts = [this.#firstRows(condition, batch)];
      if (n > first) parts.push(this.#wordEmbed(n === this.rows ? input : slice(input, 1, 0, n - first)));
      const positions = n === this.rows ? this.#positions : slice(this.#positions, 1, 0, n);
      return this.#forward(add(concat(parts, 1), positions), condition);
    });
  }

  /** hidden[..., d] -> logits[..., codes]. */
  codeLogits(hidden: Tensor): Tensor {
    return linear(hidden, this.#w.get("head.weight"), this.#w.get("head.bias"));
  }

  /** A state for `step`, with room for all scales. Dispose it when done. */
  start(batch: number): VarState {
    const { depth, heads, embedDim } = this.config;
    const make = () => new KeyValueCache(this.#device, batch, this.rows, heads, embedDim / heads);
    const caches = Array.from({ length: depth }, () => keep(make()));
    return { caches, batch, dispose: () => caches.forEach((cache) => cache.dispose()) };
  }

  /**
   * Logits[batch, pn^2, codes] of the next scale. The first call passes null; every further one the input rows
   * [batch, pn^2, codeChannels] that the quantiser derives from the scales chosen before.
   */
  step(state: VarState, input: Tensor | null, condition: VarCondition): Tensor {
    const seen = state.caches[0].length;
    const scale = this.#starts.indexOf(seen);
    const rows = this.#starts[scale + 1] - seen;
    if ((input === null) !== (seen === 0) || (input && input.shape[1] !== rows)) {
      throw new Error(`VAR: scale ${scale} expects ${seen === 0 ? "null" : `${rows} input rows`}`);
    }
    return scope(() => {
      const content = input === null ? this.#firstRows(condition, state.batch) : this.#wordEmbed(input);
      const x = add(content, slice(this.#positions, 1, seen, seen + rows));
      return this.codeLogits(this.#forward(x, condition, state));
    });
  }

  /**
   * Frees what the constructor made and leaves the weights to their owner, as training does, which makes one per step.
   */
  release(): void {
    for (const tensor of this.#owned) tensor.dispose();
  }

  dispose(): void {
    this.release();
    this.#w.dispose();
  }

  /** The rows of the first scale: the class embedding plus pos_start, [batch, pn_0^2, d]. */
  #firstRows(condition: VarCondition, batch: number): Tensor {
    const rows = add(condition.embedded, this.#w.get("pos_start"));
    return rows.shape[0] === batch ? rows : concat(Array.from({ length: batch }, () => rows), 0);
  }

  #wordEmbed(input: Tensor): Tensor {
    return linear(input, this.#w.get("word_embed.weight"), this.#w.get("word_embed.bias"));
  }

  /** All blocks and the norm of the head. Without a state, rows are those of the first scales. */
  #forward(x: Tensor, condition: VarCondition, state?: VarState): Tensor {
    const rows = x.shape[1];
    const visible = state ? undefined : rows === this.rows ? this.#visible : slice(this.#visible, 0, 0, rows);
    for (let i = 0; i < this.config.depth; i++) {
      const input = x;
      x = scope(() => this.#block(input, this.#w.at(`blocks.${i}`), condition.blocks[i], visible, state?.caches[i]));
      if (i > 0) input.dispose();
    }
    const chunk = (index: number): Modulation => ({ table: condition.head, chunk: index });
    return layerNorm(x, { scale: chunk(0), shift: chunk(1) });
  }

  #block(
    x: Tensor,
    w: Weights,
    table: Tensor,
    visible: Tensor | undefined,
    cache: KeyValueCache | undefined,
  ): Tensor {
    const { heads, embedDim: d, attnL2Norm } = this.config;
    const headDim = d / heads;
    const [batch, rows] = x.shape;
    const chunk = (index: number): Modulation => ({ table, chunk: index });
    let h = layerNorm(x, { scale: chunk(2), shift: chunk(4) });
    const project = (part: number, bias?: Tensor) =>
      linear(h, w.get(`attn.mat_qkv.weight.${part}`), bias).reshape(batch, rows, heads, headDim);
    let q = project(0, w.get("attn.q_bias")), k = project(1);
    const v = project(2, w.get("attn.v_bias"));
    if (attnL2Norm) {
      q = mul(l2Normalize(q), w.get("attn.scale_mul_1H11").reshape(heads, 1));
      k = l2Normalize(k);
    }
    // The official code divides the usual scale by four when it does not normalise.
    const scale = attnL2Norm ? 1 : 0.25 / Math.sqrt(headDim);
    cache?.append(k, v);
    const mixed = cache
      ? attention(q, cache.k, cache.v, { scale, keys: cache.length })
      : attention(q, k, v, { scale, visible });
    const y = linear(mixed.reshape(batch, rows, d), w.get("attn.proj.weight"), w.get("attn.proj.bias"), {
      gate: chunk(0),
      residual: x,
    });
    h = layerNorm(y, { scale: chunk(3), shift: chunk(5) });
    h = linear(h, w.get("ffn.fc1.weight"), w.get("ffn.fc1.bias"), { activation: "geluTanh" });
    return linear(h, w.get("ffn.fc2.weight"), w.get("ffn.fc2.bias"), { gate: chunk(1), residual: y });
  }
}

/** Buffers of official checkpoints that follow from the configuration. */
export const varBuffers: readonly RegExp[] = [/(^|\.)lvl_1L$/, /(^|\.)attn_bias_for_masking$/, /\.zero_k_bias$/];

/**
 * Every parameter of the transformer. mat_qkv is split into three maps; scale_mul is stored as the factor it stands
 * for.
 */
export function transformerSpecs(config: VarConfig): WeightSpec[] {
  const { depth, embedDim: d, heads, sharedAdaLn, attnL2Norm, classes, patchNums, mlpRatio, codeChannels, codes } =
    config;
  const specs: WeightSpec[] = [];
  const vector = (name: string, n: number) => specs.push({ name, shape: [n], role: "vector" });
  const matrix = (name: string, n: number, k: number) => {
    specs.push({ name: `${name}.weight`, shape: [n, k], role: "linear" });
    vector(`${name}.bias`, n);
  };
  const first = patchNums[0] ** 2;
  specs.push(
    { name: "pos_start", shape: [1, first, d], role: "tensor" },
    { name: "pos_1LC", shape: [1, tokenCount(patchNums), d], role: "tensor" },
  );
  matrix("word_embed", d, codeChannels);
  specs.push(
    { name: "class_emb.weight", shape: [classes + 1, d], role: "embedding" },
    { name: "lvl_embed.weight", shape: [patchNums.length, d], role: "tensor" },
  );
  if (sharedAdaLn) matrix("shared_ada_lin.1", 6 * d, d);
  for (let i = 0; i < depth; i++) {
    const b = `blocks.${i}`;
    if (sharedAdaLn) specs.push({ name: `${b}.ada_gss`, shape: [1, 1, 6, d], role: "tensor" });
    if (attnL2Norm) {
      specs.push({ name: `${b}.attn.scale_mul_1H11`, shape: [1, heads, 1, 1], role: "tensor", ...scaleMul });
    }
    vector(`${b}.attn.q_bias`, d);
    vector(`${b}.attn.v_bias`, d);
    specs.push({ name: `${b}.attn.mat_qkv.weight`, shape: [3 * d, d], role: "linear", split: 3 });
    matrix(`${b}.attn.proj`, d, d);
    matrix(`${b}.ffn.fc1`, mlpRatio * d, d);
    matrix(`${b}.ffn.fc2`, d, mlpRatio * d);
    if (!sharedAdaLn) matrix(`${b}.ada_lin.1`, 6 * d, d);
  }
  matrix("head_nm.ada_lin.1", 2 * d, d);
  matrix("head", codes, d);
  return specs;
}

/** The factor that queries are multiplied by is exp(min(scale_mul, ln 100)). */
const scaleMul: Pick<WeightSpec, "transform" | "inverse"> = {
  transform: (values) => values.map((value) => Math.exp(Math.min(value, Math.log(100)))),
  inverse: (values) => values.map(Math.log),
};
