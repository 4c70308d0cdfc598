/**
 * From tokens to their likelihood under one variant: teacher-forced, per token, under a list of conditions per image. What
 * the numbers mean for the verdict, and which conditions to try, is decided elsewhere.
 *
 * The networks' hidden states, of the model's width, are kept for a whole batch; logits, which are as wide as the codebook, only
 * for a block of rows at a time.
 */
import {
  affine,
  concat,
  type Device,
  embedding,
  fromArray,
  full,
  keep,
  less,
  logSoftmaxGather,
  scope,
  slice,
  sum,
  type Tensor,
} from "../../core/tensor/mod.ts";
import type { Condition, ImageTokenizer, Variant } from "../../models/family.ts";
import { TokenDraw } from "../../models/sampling.ts";
import type { DrawRule, Sampler } from "../../models/draw_rule.ts";
import { chunks } from "../../util/chunks.ts";

/**
 * log p(token t | tokens before it, condition) in nats, [batch, tokenCount]. `input` is what the variant's family makes of
 * `tokens` [batch, tokenCount] (`ImageTokenizer.transformerInput`). For a few images: it keeps all logits.
 */
export function tokenLogProbs(variant: Variant, input: Tensor, tokens: Tensor, condition: Condition): Tensor {
  return scope(() => logSoftmaxGather(variant.logits(input, condition), tokens));
}

/** Scores of one image's tokens under one condition, [tokens] each; log-probabilities in nats. */
export interface TokenScores {
  /** log p(token | tokens before it, class). Without a class, equal to `unconditional`. */
  readonly conditional: Float32Array;
  /** log p(token | tokens before it). */
  readonly unconditional: Float32Array;
  /** Under the distribution that the variant's sampler draws from, before top-k and top-p: guided and with temperature. */
  readonly guided: Float32Array;
  /** 1 for the likeliest code of the guided distribution: 1 plus the codes that are likelier than the token. */
  readonly rank: Float32Array;
  /** 1 where top-k and top-p let the sampler draw the token, 0 elsewhere. */
  readonly supported: Float32Array;
  /** What `rowStatistics` gave. */
  readonly extra: Readonly<Record<string, Float32Array>>;
}

/** A block of rows, one token each. All logits are [rows, codes]; what is made of them in a callback is freed after it. */
export interface RowBlock {
  /** Logits under the condition, [rows, codes]. */
  readonly conditional: Tensor;
  /** Logits without a class, [rows, codes]. */
  readonly unconditional: Tensor;
  /** Guided and divided by the temperature. */
  readonly guided: Tensor;
  /** [rows], i32. */
  readonly tokens: Tensor;
}

/** How tokens are scored. */
export interface ScorerOptions {
  /** Bytes for the logits of a block and what is computed from them. Default 32 MiB; at least one row is always taken. */
  readonly blockBytes?: number;
  /** Images (with a condition each) that go through the network at once. Default 8. */
  readonly batch?: number;
  /** The unconditional condition, shared by all images, where the caller has it; else the scorer makes one and keeps it. */
  readonly unconditional?: Condition;
  /** Further numbers of every row, [rows] each, to be computed while its logits are there. */
  readonly rowStatistics?: (block: RowBlock) => Readonly<Record<string, Tensor>>;
}

/** Tensors [rows, codes] that live at once at the peak of a block, those of choosing a support included. */
const blockTensors = { whole: 8, narrow: 20 };

/** An image, by its place in the batch, under a class. */
export interface Job {
  readonly image: number;
  readonly label: number | null;
}

/** Features[jobs, tokens, width] of jobs, in their order. */
interface Pass {
  readonly jobs: readonly Job[];
  readonly hidden: Tensor;
}

/** Scores tokens under one variant. Holds small constant tensors: dispose it when done; the networks are the caller's. */
export class TokenScorer {
  /** The distribution that the variant's sampler draws from. */
  readonly rule: DrawRule;
  readonly #draw: TokenDraw;
  readonly #blockRows: number;
  readonly #batch: number;
  readonly #coefficients: readonly Tensor[];
  #own: Condition | undefined;

  /** A scorer for one variant. */
  constructor(
    readonly device: Device,
    readonly tokenizer: ImageTokenizer,
    readonly variant: Variant,
    sampler: Sampler,
    readonly options: ScorerOptions = {},
  ) {
    const { blockBytes = 32 * 2 ** 20, batch = 8 } = options;
    this.rule = variant.drawRule(sampler);
    this.#draw = new TokenDraw(device, variant.codes, this.rule.support);
    const tensors = this.#isNarrow ? blockTensors.narrow : blockTensors.whole;
    this.#blockRows = Math.max(1, Math.floor(blockBytes / (4 * variant.codes * tensors)));
    this.#batch = batch;
    this.#coefficients = this.rule.coefficients.map((values) => keep(fromArray(device, values, [values.length, 1])));
  }

  get #isNarrow(): boolean {
    const { topK, topP } = this.rule.support;
    return (topK > 0 && topK < this.variant.codes) || (topP > 0 && topP < 1);
  }

  /**
   * Scores tokens[images * tokenCount], image after image, each under its own classes (null: none). Result [image][class].
   * The unconditional hidden states of an image are computed once for all its classes, and of a RAR variant, whose modulation
   * costs half as much as a pass, the tables of a class once for all images of the call that have it.
   */
  async score(tokens: Int32Array, classes: readonly (readonly (number | null)[])[]): Promise<TokenScores[][]> {
    const n = this.variant.tokenCount, images = classes.length;
    if (tokens.length !== images * n) {
      throw new Error(`score: expected ${images} images of ${n} tokens, got ${tokens.length} tokens`);
    }
    if (classes.every((labels) => labels.length === 0)) return classes.map(() => []);
    const { order, packed, names } = this.record(tokens, classes);
    let values: Float32Array;
    try {
      values = await packed.data();
    } finally {
      packed.dispose();
    }
    const total = order.length * n;
    const results: TokenScores[][] = classes.map(() => []);
    order.forEach(({ image, label }, i) => {
      const column = (k: number) => values.slice(k * total + i * n, k * total + (i + 1) * n);
      const [conditional, unconditional, guided, rank, supported] = [0, 1, 2, 3, 4].map(column);
      const extra = Object.fromEntries(names.map((name, k) => [name, column(5 + k)]));
      results[image][classes[image].indexOf(label)] = { conditional, unconditional, guided, rank, supported, extra };
    });
    return results;
  }

  /**
   * The work of `score`, recorded and not waited for: the columns of `TokenScores` in their order and then the extra ones,
   * [columns, jobs * tokenCount], and whose numbers come in which order. At least one image must have a class, or null.
   *
   * @internal
   */
  record(
    ids: Int32Array,
    classes: readonly (readonly (number | null)[])[],
  ): { order: readonly Job[]; packed: Tensor; names: string[] } {
    const images = classes.length;
    const jobs = classes.flatMap((labels, image) => labels.map((label): Job => ({ image, label })));
    const { device, tokenizer } = this;
    const n = this.variant.tokenCount;
    return scope(() => {
      const tokens = fromArray(device, Int32Array.from(ids), [images, n]);
      const input = tokenizer.transformerInput(tokens);
      const plain = Array.from({ length: images }, (_, image): Job => ({ image, label: null }));
      const wanted = jobs.filter(({ label }) => label !== null);
      // Images without a class need no other pass than the unconditional one.
      const passes = this.#passes(input, [...plain, ...wanted]);
      const unconditional = passes.filter(({ jobs }) => jobs[0].label === null);
      const base = unconditional.length === 1 ? unconditional[0].hidden : concat(unconditional.map((p) => p.hidden), 0);
      const nulls = jobs.filter(({ label }) => label === null);
      const scored: Pass[] = passes.filter(({ jobs }) => jobs[0].label !== null);
      if (nulls.length > 0) scored.push({ jobs: nulls, hidden: this.#rowsOf(base, nulls) });
      const columns: Tensor[][] = [];
      let names: string[] = [];
      for (const pass of scored) {
        const { tensors, extra } = scope(() => this.#score(pass, base, ids));
        columns.push(tensors);
        names = extra;
      }
      const packed = scope(() =>
        concat(columns[0].map((_, k) => concat(columns.map((own) => own[k]), 0).reshape(1, -1)), 0)
      );
      return { order: scored.flatMap(({ jobs }) => jobs), packed, names };
    });
  }

  /**
   * Runs the network. Where a condition's tables have a row per token, there is a pass per class, whose tables serve all
   * images. Where they are small, any conditions share a batch, unconditional rows included. Unconditional and other jobs never share a
   * result, and unconditional ones stay in the order of the images.
   */
  #passes(input: Tensor, jobs: readonly Job[]): Pass[] {
    const { variant } = this;
    const passes: Pass[] = [];
    const run = (own: readonly Job[], condition: Condition) => {
      const hidden = scope(() => variant.hiddenStates(this.#rowsOf(input, own), condition));
      let start = 0;
      for (let end = 1; end <= own.length; end++) {
        if (end < own.length && (own[end].label === null) === (own[start].label === null)) continue;
        const isAll = end - start === own.length;
        passes.push({ jobs: own.slice(start, end), hidden: isAll ? hidden : slice(hidden, 0, start, end) });
        start = end;
      }
    };
    if (!variant.conditionCost.perToken) {
      for (const own of chunks(jobs, this.#batch)) {
        const condition = variant.condition(own.map(({ label }) => label));
        run(own, condition);
        condition.dispose();
      }
      return passes;
    }
    for (const label of new Set(jobs.map(({ label }) => label))) {
      const condition = label === null ? this.#unconditional() : variant.condition([label]);
      for (const own of chunks(jobs.filter((job) => job.label === label), this.#batch)) run(own, condition);
      if (label !== null) condition.dispose();
    }
    return passes;
  }

  #unconditional(): Condition {
    return this.options.unconditional ?? (this.#own ??= keep(this.variant.condition([null])));
  }

  /** The images of the jobs out of x[images, ...]. */
  #rowsOf(x: Tensor, jobs: readonly Job[]): Tensor {
    const [images, ...rest] = x.shape;
    if (jobs.length === images && jobs.every(({ image }, i) => image === i)) return x.alias();
    const index = fromArray(this.device, Int32Array.from(jobs, ({ image }) => image), [jobs.length]);
    return embedding(x.reshape(images, -1), index).reshape(jobs.length, ...rest);
  }

  /** Columns of numbers, [jobs * tokens] each: those of `TokenScores` in their order, and the extra ones by name. */
  #score(pass: Pass, base: Tensor, ids: Int32Array): { tensors: Tensor[]; extra: string[] } {
    const { variant, rule, device, options } = this;
    const n = variant.tokenCount, { codes } = variant;
    const rows = pass.jobs.length * n, width = base.shape[2];
    const isPlain = pass.jobs[0].label === null;
    const own = pass.hidden.reshape(rows, width);
    const other = isPlain ? own : this.#rowsOf(base, pass.jobs).reshape(rows, width);
    const parts: Tensor[][] = [];
    let extra: string[] = [];
    for (let start = 0; start < rows; start += this.#blockRows) {
      const end = Math.min(rows, start + this.#blockRows);
      const block = scope(() => {
        const chosen = new Int32Array(end - start), places = new Int32Array(end - start), at = places.slice();
        for (let r = start; r < end; r++) {
          const t = r % n;
          chosen[r - start] = ids[pass.jobs[Math.floor(r / n)].image * n + t];
          at[r - start] = t;
          places[r - start] = (r - start) * codes + chosen[r - start];
        }
        const tokens = fromArray(device, chosen, [end - start]);
        const place = fromArray(device, places, [end - start]);
        const gather = (x: Tensor) => embedding(x.reshape(-1, 1), place); // [rows, 1]
        const conditional = variant.codeLogits(slice(own, 0, start, end));
        const unconditional = isPlain ? conditional : variant.codeLogits(slice(other, 0, start, end));
        let guided = conditional;
        if (rule.isGuided && !isPlain) {
          const index = fromArray(device, at, [end - start]);
          guided = rule.guide(conditional, unconditional, this.#coefficients.map((c) => embedding(c, index)));
        }
        if (rule.temperature !== 1) guided = affine(guided, 1 / rule.temperature);
        const further = options.rowStatistics?.({ conditional, unconditional, guided, tokens }) ?? {};
        extra = Object.keys(further);
        return [
          logSoftmaxGather(conditional, tokens),
          logSoftmaxGather(unconditional, tokens),
          logSoftmaxGather(guided, tokens),
          affine(sum(less(gather(guided), guided), 1), 1, 1),
          this.#isNarrow
            ? less(full(device, [1], 0), gather(this.#draw.weights(guided)).reshape(end - start))
            : full(device, [end - start], 1),
          ...Object.values(further),
        ];
      });
      parts.push(block);
    }
    return { tensors: parts[0].map((_, k) => concat(parts.map((part) => part[k]), 0)), extra };
  }

  /** Frees what is kept between images. */
  dispose(): void {
    this.#draw.dispose();
    this.#own?.dispose();
    this.#coefficients.forEach((tensor) => tensor.dispose());
  }
}
