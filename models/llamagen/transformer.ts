/**
 * The transformer of the LlamaGen family: a class token, then image tokens in raster order; blocks as LLaMA's, with
 * RMSNorm, gated feed-forward layers (SwiGLU) and rotary positions in two dimensions, without biases.
 * Source: FoundationVision/LlamaGen, autoregressive/models/gpt.py (arXiv 2406.06525); names are the checkpoint's.
 */
import {
  affine,
  attention,
  causalVisible,
  concat,
  type Device,
  embedding,
  fromArray,
  keep,
  KeyValueCache,
  linear,
  mean,
  mul,
  power,
  scope,
  slice,
  square,
  type Tensor,
} from "../../core/tensor/mod.ts";
import type { Condition } from "../family.ts";
import type { Weights, WeightSpec } from "../weights.ts";
import type { LlamagenConfig } from "./config.ts";
import { Rotary } from "./rotary.ts";

/** Added to the mean square of a row. */
const eps = 1e-5;

/** The embedded class tokens, [1 or batch, 1, width]. */
export interface LlamagenCondition extends Condition {
  readonly embedded: Tensor;
}

/** Keys and values of the rows seen so far, for step-by-step decoding. */
export interface LlamagenState {
  readonly caches: readonly KeyValueCache[];
  readonly batch: number;
  dispose(): void;
}

/** x / sqrt(mean(x^2) + eps) * weight over the last axis (arXiv 1910.07467). */
export function rmsNorm(x: Tensor, weight: Tensor): Tensor {
  return scope(() => mul(mul(x, power(affine(mean(square(x), -1, true), 1, eps), -0.5)), weight));
}

export class LlamagenTransformer {
  readonly config: LlamagenConfig;
  readonly #device: Device;
  readonly #w: Weights;
  readonly #rotary: Rotary;
  readonly #causal: Tensor;

  constructor(device: Device, weights: Weights, config: LlamagenConfig) {
    this.#device = device;
    this.#w = weights;
    this.config = config;
    const { tokenCount, width, heads } = config;
    this.#rotary = new Rotary(device, Math.sqrt(tokenCount), width / heads);
    this.#causal = keep(causalVisible(device, tokenCount));
  }

  /** Row of the class table; the last one, for null, is that of no class. */
  conditionId(label: number | null): number {
    const { classes } = this.config;
    if (label === null) return classes;
    if (!(Number.isInteger(label) && label >= 0 && label < classes)) {
      throw new Error(`LlamaGen: expected a class from 0 to ${classes - 1}, got ${label}`);
    }
    return label;
  }

  /** Embeds the class tokens: one label for a whole batch, or one per image. Dispose it when done. */
  condition(labels: readonly (number | null)[]): LlamagenCondition {
    const ids = Int32Array.from(labels, (label) => this.conditionId(label));
    const embedded = keep(
      scope(() =>
        embedding(this.#w.get("cls_embedding.embedding_table.weight"), fromArray(this.#device, ids, [ids.length, 1]))
      ),
    );
    return { embedded, batch: ids.length, bytes: embedded.bytes, dispose: () => embedded.dispose() };
  }

  /** Teacher-forced logits[batch, N, codes] of tokens[batch, N] (i32, raster order): row t predicts token t. */
  logits(tokens: Tensor, condition: LlamagenCondition): Tensor {
    return scope(() => this.codeLogits(this.hiddenStates(tokens, condition)));
  }

  /** What the logits of the first n of tokens[batch, >= n] are a linear map of, [batch, n, width]. */
  hiddenStates(tokens: Tensor, condition: LlamagenCondition, n = this.config.tokenCount): Tensor {
    const { tokenCount } = this.config;
    const [batch, given] = tokens.shape;
    if (!(Number.isInteger(n) && n >= 1 && n <= tokenCount && given >= n)) {
      throw new Error(`LlamaGen: expected at least ${n} tokens per image, of ${tokenCount}, got ${given}`);
    }
    return scope(() => {
      const parts = [repeat(condition.embedded, batch)];
      if (n > 1) parts.push(embedding(this.#w.get("tok_embeddings.weight"), slice(tokens, 1, 0, n - 1)));
      return rmsNorm(this.#blocks(concat(parts, 1), 0), this.#w.get("norm.weight"));
    });
  }

  /** hidden[..., width] -> logits[..., codes]. */
  codeLogits(hidden: Tensor): Tensor {
    return linear(hidden, this.#w.get("output.weight"));
  }

  /** A state for `step`, with room for the whole sequence. Dispose it when done. */
  start(batch: number): LlamagenState {
    const { layers, heads, width, tokenCount } = this.config;
    const make = () => new KeyValueCache(this.#device, batch, tokenCount + 1, heads, width / heads);
    const caches = Array.from({ length: layers }, () => keep(make()));
    return { caches, batch, dispose: () => caches.forEach((cache) => cache.dispose()) };
  }

  /**
   * Logits[batch, codes] of the next token, in raster order. The first call passes null and feeds the class token; every
   * further one the token[batch] (i32) chosen before.
   */
  step(state: LlamagenState, previous: Tensor | null, condition: LlamagenCondition): Tensor {
    const { batch } = state, seen = state.caches[0].length;
    if ((previous === null) !== (seen === 0)) {
      throw new Error("LlamaGen: the first step takes null, every other one a token");
    }
    return scope(() => {
      const x = previous === null
        ? repeat(condition.embedded, batch)
        : embedding(this.#w.get("tok_embeddings.weight"), previous.reshape(batch, 1));
      const hidden = rmsNorm(this.#blocks(x, seen, state), this.#w.get("norm.weight"));
      return this.codeLogits(hidden).reshape(batch, this.config.codes);
    });
  }

  /** Frees what the constructor made and leaves the weights to their owner, as training does, which makes one per step. */
  release(): void {
    this.#rotary.dispose();
    this.#causal.dispose();
  }

  dispose(): void {
    this.release();
    this.#w.dispose();
  }

  /** All blocks over x[batch, rows, width], whose first row is row `start` of the sequence. */
  #blocks(x: Tensor, start: number, state?: LlamagenState): Tensor {
    const rows = x.shape[1];
    const visible = state
      ? undefined
      : rows === this.config.tokenCount
      ? this.#causal
      : causalVisible(this.#device, rows);
    for (let i = 0; i < this.config.layers; i++) {
      const input = x;
      x = scope(() => this.#block(input, this.#w.at(`layers.${i}`), start, visible, state?.caches[i]));
      if (i > 0) input.dispose();
    }
    return x;
  }

  #block(x: Tensor, w: Weights, start: number, visible: Tensor | undefined, cache: KeyValueCache | undefined): Tensor {
    const { heads, width } = this.config;
    const [batch, rows] = x.shape;
    const h = rmsNorm(x, w.get("attention_norm.weight"));
    const project = (part: number) =>
      linear(h, w.get(`attention.wqkv.weight.${part}`)).reshape(batch, rows, heads, width / heads);
    const q = this.#rotary.apply(project(0), start), k = this.#rotary.apply(project(1), start), v = project(2);
    cache?.append(k, v);
    const mixed = cache === undefined
      ? attention(q, k, v, { visible })
      : attention(q, cache.k, cache.v, { keys: cache.length });
    const y = linear(mixed.reshape(batch, rows, width), w.get("attention.wo.weight"), undefined, { residual: x });
    return feedForward(y, w);
  }
}

/** y + w2 (silu(w1 n) * w3 n), n being the norm of y[batch, rows, width]. */
function feedForward(y: Tensor, w: Weights): Tensor {
  const [batch, rows] = y.shape;
  const n = rmsNorm(y, w.get("ffn_norm.weight"));
  const up = linear(n, w.get("feed_forward.w3.weight"));
  const gate = { table: up.reshape(batch, rows, 1, up.shape[2]), chunk: 0, row: 0 };
  const gated = linear(n, w.get("feed_forward.w1.weight"), undefined, { activation: "silu", gate });
  return linear(gated, w.get("feed_forward.w2.weight"), undefined, { residual: y });
}

/** x[1 or batch, rows, width] repeated to the batch. */
function repeat(x: Tensor, batch: number): Tensor {
  return x.shape[0] === batch ? x : concat(Array.from({ length: batch }, () => x), 0);
}

/** Every parameter of the transformer. wqkv is split into three maps, which are separate tensors. */
export function transformerSpecs({ width, layers, mlp, classes, codes }: LlamagenConfig): WeightSpec[] {
  const matrix = (name: string, n: number, k: number, split?: number): WeightSpec => ({
    ...{ name, shape: [n, k], role: "linear", split },
  });
  const norm = (name: string): WeightSpec => ({ name, shape: [width], role: "vector" });
  const blocks = Array.from({ length: layers }, (_, i) => `layers.${i}`).flatMap((block) => [
    matrix(`${block}.attention.wqkv.weight`, 3 * width, width, 3),
    matrix(`${block}.attention.wo.weight`, width, width),
    matrix(`${block}.feed_forward.w1.weight`, mlp, width),
    matrix(`${block}.feed_forward.w3.weight`, mlp, width),
    matrix(`${block}.feed_forward.w2.weight`, width, mlp),
    norm(`${block}.attention_norm.weight`),
    norm(`${block}.ffn_norm.weight`),
  ]);
  return [
    { name: "cls_embedding.embedding_table.weight", shape: [classes + 1, width], role: "embedding" },
    { name: "tok_embeddings.weight", shape: [codes, width], role: "embedding" },
    ...blocks,
    norm("norm.weight"),
    matrix("output.weight", codes, width),
  ];
}
