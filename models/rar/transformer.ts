/**
 * The RAR transformer: adaLN blocks over [cls, condition, token 0, ..., token N - 1] with a causal mask, in any token
 * order. Source: bytedance/1d-tokenizer, modeling/rar.py (arXiv 2411.00776); parameter names are the checkpoint's.
 */
import {
  add,
  attention,
  causalVisible,
  concat,
  type Device,
  embedding,
  fromArray,
  keep,
  KeyValueCache,
  layerNorm,
  linear,
  type Modulation,
  scope,
  silu,
  slice,
  type Tensor,
  zeros,
} from "../../core/tensor/mod.ts";
import type { Condition } from "../family.ts";
import type { Weights, WeightSpec } from "../weights.ts";
import type { RarConfig } from "./config.ts";

/** Rows before the first token: cls and condition. */
const prefixRows = 2;

/** An adaLN table [1 or batch, rows, chunks, hidden], or its chunks as tables of one chunk each. */
export type AdaLnTable = Tensor | readonly Tensor[];

/**
 * Everything that depends on the condition and the position alone: the embedded condition and the adaLN tables of every
 * block, of 6 chunks, and of the head, of 2.
 */
export interface RarCondition extends Condition {
  readonly embedded: Tensor;
  readonly blocks: readonly AdaLnTable[];
  readonly head: AdaLnTable;
}

/** Keys and values of the rows seen so far, for step-by-step decoding. */
export interface RarState {
  readonly caches: readonly KeyValueCache[];
  readonly batch: number;
  dispose(): void;
}

export class RarTransformer {
  readonly config: RarConfig;
  readonly #device: Device;
  readonly #w: Weights;
  /** pos_embed rows for the sequence, [rows, hidden]. */
  readonly #positions: Tensor;
  /** target_aware_pos_embed rows and a zero row at the end, [rows + 1, hidden]. */
  readonly #targets: Tensor;
  /** What `#placement` gives for raster order, [1, rows, hidden]: every step of generation takes a row of it. */
  readonly #raster: Tensor;
  readonly #causal: Tensor;

  constructor(device: Device, weights: Weights, config: RarConfig) {
    this.#device = device;
    this.#w = weights;
    this.config = config;
    const { hiddenSize } = config;
    [this.#positions, this.#targets] = scope(() =>
      keep([
        slice(weights.get("pos_embed").reshape(-1, hiddenSize), 0, 0, this.rows),
        concat([
          slice(weights.get("target_aware_pos_embed").reshape(-1, hiddenSize), 0, 0, this.rows),
          zeros(device, [1, hiddenSize]),
        ], 0),
      ])
    );
    const raster = Int32Array.from({ length: config.tokenCount }, (_, i) => i);
    this.#raster = keep(scope(() => this.#placement([raster])));
    this.#causal = keep(causalVisible(device, this.rows));
  }

  /** Length of the whole sequence. */
  get rows(): number {
    return this.config.tokenCount + prefixRows;
  }

  /**
   * Token id of a class, or of the none condition for null. Ids 0..codes - 1 are tokens, `codes` is an unused mask
   * token.
   */
  conditionId(label: number | null): number {
    const { codes, classes } = this.config;
    if (label === null) return codes + 1 + classes;
    if (!(Number.isInteger(label) && label >= 0 && label < classes)) {
      throw new Error(`RAR: expected a class from 0 to ${classes - 1}, got ${label}`);
    }
    return codes + 1 + label;
  }

  /**
   * Computes what depends on the condition; one label for a whole batch, or one per image. Dispose it when done. Its
   * tables have the first `rows` rows of the sequence, by default all: as many as whoever uses it goes through.
   */
  condition(labels: readonly (number | null)[], rows = this.rows): RarCondition {
    const { hiddenSize, layers } = this.config;
    const ids = labels.map((label) => this.conditionId(label));
    const tables = scope(() => {
      const index = fromArray(this.#device, Int32Array.from(ids), [ids.length, 1]);
      const embedded = embedding(this.#w.get("embeddings.weight"), index);
      const steps = slice(this.#w.get("timesteps_embeddings"), 1, 0, rows);
      const activated = silu(add(embedded, steps));
      const table = (w: Weights, chunks: number) =>
        linear(activated, w.get("weight"), w.get("bias")).reshape(ids.length, rows, chunks, hiddenSize);
      const blocks = Array.from({ length: layers }, (_, i) => table(this.#w.at(`blocks.${i}.adaLN_modulation.1`), 6));
      return keep({ embedded, blocks, head: table(this.#w.at("adaln_before_head.adaLN_modulation.1"), 2) });
    });
    const all = [tables.embedded, ...tables.blocks, tables.head];
    return {
      ...tables,
      batch: ids.length,
      bytes: all.reduce((sum, tensor) => sum + tensor.bytes, 0),
      dispose: () => all.forEach((tensor) => tensor.dispose()),
    };
  }

  /**
   * Teacher-forced logits[batch, N + 1, codes] of tokens[batch, N] (i32, raster order): row t predicts the t-th token
   * of the sequence, the last row is unused. `orders` gives one token order per image: position t holds image token
   * orders[t].
   */
  logits(tokens: Tensor, condition: RarCondition, orders?: readonly Int32Array[]): Tensor {
    const { tokenCount } = this.config;
    const [batch, n] = tokens.shape;
    if (n !== tokenCount) throw new Error(`RAR: expected ${tokenCount} tokens per image, got ${n}`);
    return scope(() => {
      const sequence = orders ? this.#gatherTokens(tokens, orders) : tokens;
      let x = this.#embed(sequence, condition, batch, orders);
      x = this.#blocks(x, condition, 0);
      return this.#head(slice(x, 1, 1), condition, 1);
    });
  }

  /**
   * What the logits of the first n of tokens[batch, >= n] (i32, raster order) are a linear map of, [batch, n, hidden]:
   * the same numbers as `logits`, for which later tokens do not matter. The condition needs n + 1 rows.
   */
  hiddenStates(tokens: Tensor, condition: RarCondition, n = this.config.tokenCount): Tensor {
    const { tokenCount } = this.config;
    const [batch, given] = tokens.shape;
    if (!(Number.isInteger(n) && n >= 1 && n <= tokenCount && given >= n)) {
      throw new Error(`RAR: expected at least ${n} tokens per image, of ${tokenCount}, got ${given}`);
    }
    return scope(() => {
      const parts = [this.#prefix(condition, batch)];
      if (n > 1) parts.push(embedding(this.#w.get("embeddings.weight"), slice(tokens, 1, 0, n - 1)));
      const x = add(concat(parts, 1), slice(this.#raster, 1, 0, n + 1));
      return this.#headNorm(slice(this.#blocks(x, condition, 0), 1, 1), condition, 1);
    });
  }

  /** hidden[..., width] -> logits[..., codes]. */
  codeLogits(hidden: Tensor): Tensor {
    return linear(hidden, this.#w.get("lm_head.weight"), this.#w.get("lm_head.bias"));
  }

  /** A state for `step`, with room for the whole sequence. Dispose it when done. */
  start(batch: number): RarState {
    const { layers, heads, hiddenSize } = this.config;
    const make = () => new KeyValueCache(this.#device, batch, this.rows, heads, hiddenSize / heads);
    const caches = Array.from({ length: layers }, () => keep(make()));
    return { caches, batch, dispose: () => caches.forEach((cache) => cache.dispose()) };
  }

  /**
   * Logits[batch, codes] of the next token, in raster order. The first call passes null and feeds cls and condition;
   * every further one the token[batch] (i32) chosen before.
   */
  step(state: RarState, previous: Tensor | null, condition: RarCondition): Tensor {
    const { codes } = this.config;
    const { batch } = state;
    const seen = state.caches[0].length;
    if ((previous === null) !== (seen === 0)) {
      throw new Error("RAR: the first step takes null, every other one a token");
    }
    return scope(() => {
      const rows = previous === null ? prefixRows : 1;
      const content = previous === null
        ? this.#prefix(condition, batch)
        : embedding(this.#w.get("embeddings.weight"), previous.reshape(batch, 1));
      const x = add(content, slice(this.#raster, 1, seen, seen + rows));
      const y = this.#blocks(x, condition, seen, state);
      return this.#head(slice(y, 1, rows - 1), condition, seen + rows - 1).reshape(batch, codes);
    });
  }

  /**
   * Frees what the constructor made and leaves the weights to their owner, as training does, which makes one per step.
   */
  release(): void {
    for (const tensor of [this.#positions, this.#targets, this.#causal, this.#raster]) tensor.dispose();
  }

  dispose(): void {
    this.release();
    this.#w.dispose();
  }

  /** cls and condition rows without positions, [batch, 2, hidden]. */
  #prefix(condition: RarCondition, batch: number): Tensor {
    const { hiddenSize } = this.config;
    const rows = concat([repeat(this.#w.get("cls_token"), batch), repeat(condition.embedded, batch)], 1);
    return rows.reshape(batch, prefixRows, hiddenSize);
  }

  #embed(tokens: Tensor, condition: RarCondition, batch: number, orders?: readonly Int32Array[]): Tensor {
    const content = concat([
      this.#prefix(condition, batch),
      embedding(this.#w.get("embeddings.weight"), tokens),
    ], 1);
    return add(content, orders ? this.#placement(orders) : this.#raster);
  }

  /**
   * Position plus target-aware embedding of every row, [1 or batch, rows, hidden]: a token of image position o gets
   * pos_embed[2 + o], and every row but cls and the last the target embedding of the position it predicts.
   */
  #placement(orders: readonly Int32Array[]): Tensor {
    const n = this.config.tokenCount;
    const none = this.rows;
    const positions: number[] = [], targets: number[] = [];
    for (const order of orders) {
      positions.push(0, 1);
      targets.push(none, prefixRows + order[0]);
      for (let t = 0; t < n; t++) {
        positions.push(prefixRows + order[t]);
        targets.push(t + 1 < n ? prefixRows + order[t + 1] : none);
      }
    }
    const index = (rows: number[]) => fromArray(this.#device, Int32Array.from(rows), [orders.length, this.rows]);
    return add(embedding(this.#positions, index(positions)), embedding(this.#targets, index(targets)));
  }

  /** tokens[batch, N] read in each image's own order. */
  #gatherTokens(tokens: Tensor, orders: readonly Int32Array[]): Tensor {
    const [batch, n] = tokens.shape;
    if (orders.length !== batch) throw new Error(`RAR: expected ${batch} orders, got ${orders.length}`);
    const index = new Int32Array(batch * n);
    orders.forEach((order, b) => order.forEach((o, t) => index[b * n + t] = b * n + o));
    return embedding(tokens.reshape(batch * n, 1), fromArray(this.#device, index, [batch, n])).reshape(batch, n);
  }

  /** All blocks over x[batch, rows, hidden], whose first row is row `start` of the sequence. */
  #blocks(x: Tensor, condition: RarCondition, start: number, state?: RarState): Tensor {
    const rows = x.shape[1];
    const visible = state ? undefined : rows === this.rows ? this.#causal : causalVisible(this.#device, rows);
    for (let i = 0; i < this.config.layers; i++) {
      const input = x;
      x = scope(() =>
        this.#block(input, this.#w.at(`blocks.${i}`), condition.blocks[i], start, visible, state?.caches[i])
      );
      if (i > 0) input.dispose();
    }
    return x;
  }

  #block(
    x: Tensor,
    w: Weights,
    table: AdaLnTable,
    row: number,
    visible: Tensor | undefined,
    cache: KeyValueCache | undefined,
  ): Tensor {
    const { heads, hiddenSize } = this.config;
    const [batch, rows] = x.shape;
    const chunk = (index: number) => modulation(table, index, row);
    let h = layerNorm(x, {
      gamma: w.get("norm1.weight"),
      beta: w.get("norm1.bias"),
      shift: chunk(0),
      scale: chunk(1),
    });
    const project = (part: number) =>
      linear(h, w.get(`attn.qkv.weight.${part}`), w.get(`attn.qkv.bias.${part}`))
        .reshape(batch, rows, heads, hiddenSize / heads);
    const normed = (y: Tensor, name: string) =>
      layerNorm(y, { gamma: w.get(`attn.${name}.weight`), beta: w.get(`attn.${name}.bias`) });
    const q = normed(project(0), "q_norm"), k = normed(project(1), "k_norm"), v = project(2);
    let mixed: Tensor;
    if (cache) {
      cache.append(k, v);
      const causal = rows > 1 ? causalVisible(this.#device, rows, cache.length - rows) : undefined;
      mixed = attention(q, cache.k, cache.v, { keys: cache.length, visible: causal });
    } else {
      mixed = attention(q, k, v, { visible });
    }
    const y = linear(mixed.reshape(batch, rows, hiddenSize), w.get("attn.proj.weight"), w.get("attn.proj.bias"), {
      gate: chunk(2),
      residual: x,
    });
    h = layerNorm(y, { gamma: w.get("norm2.weight"), beta: w.get("norm2.bias"), shift: chunk(3), scale: chunk(4) });
    h = linear(h, w.get("mlp.fc1.weight"), w.get("mlp.fc1.bias"), { activation: "gelu" });
    return linear(h, w.get("mlp.fc2.weight"), w.get("mlp.fc2.bias"), { gate: chunk(5), residual: y });
  }

  /** adaLN without affine parameters (scale first, then shift), then the logits. */
  #head(x: Tensor, condition: RarCondition, row: number): Tensor {
    return this.codeLogits(this.#headNorm(x, condition, row));
  }

  #headNorm(x: Tensor, condition: RarCondition, row: number): Tensor {
    const chunk = (index: number) => modulation(condition.head, index, row);
    return layerNorm(x, { scale: chunk(0), shift: chunk(1) });
  }
}

function modulation(table: AdaLnTable, chunk: number, row: number): Modulation {
  return "shape" in table ? { table, chunk, row } : { table: table[chunk], chunk: 0, row };
}

/** x[1 or batch, rows, hidden] repeated to the batch. */
function repeat(x: Tensor, batch: number): Tensor {
  if (x.shape[0] === batch) return x;
  return concat(Array.from({ length: batch }, () => x), 0);
}

/** Every parameter of the transformer. qkv is split into three maps, which are separate tensors. */
export function transformerSpecs(config: RarConfig): WeightSpec[] {
  const { hiddenSize: d, layers, heads, intermediateSize, tokenCount, classes, codes, spareRows } = config;
  const specs: WeightSpec[] = [];
  const vector = (name: string, n: number, split?: number) => specs.push({ name, shape: [n], role: "vector", split });
  const matrix = (name: string, n: number, k: number, split?: number) => {
    specs.push({ name: `${name}.weight`, shape: [n, k], role: "linear", split });
    vector(`${name}.bias`, n, split);
  };
  const norm = (name: string, n: number) => {
    vector(`${name}.weight`, n);
    vector(`${name}.bias`, n);
  };
  specs.push(
    { name: "cls_token", shape: [1, 1, d], role: "tensor" },
    { name: "pos_embed", shape: [1, tokenCount + (spareRows ?? 1024), d], role: "tensor" },
    { name: "target_aware_pos_embed", shape: [1, tokenCount + (spareRows ?? 1024), d], role: "tensor" },
    { name: "timesteps_embeddings", shape: [1, tokenCount + (spareRows ?? 100), d], role: "tensor" },
  );
  for (let i = 0; i < layers; i++) {
    const b = `blocks.${i}`;
    norm(`${b}.norm1`, d);
    matrix(`${b}.attn.qkv`, 3 * d, d, 3);
    norm(`${b}.attn.q_norm`, d / heads);
    norm(`${b}.attn.k_norm`, d / heads);
    matrix(`${b}.attn.proj`, d, d);
    norm(`${b}.norm2`, d);
    matrix(`${b}.mlp.fc1`, intermediateSize, d);
    matrix(`${b}.mlp.fc2`, d, intermediateSize);
    matrix(`${b}.adaLN_modulation.1`, 6 * d, d);
  }
  specs.push({ name: "embeddings.weight", shape: [codes + 1 + classes + 1, d], role: "embedding" });
  matrix("adaln_before_head.adaLN_modulation.1", 2 * d, d);
  matrix("lm_head", codes, d);
  return specs;
}
