/**
 * The likelihood of tokens under one variant: teacher-forced, per token, under one or more classes per image.
 *
 * Hidden states are as wide as the model, and are kept for a whole batch. Logits are as wide as the codebook, and exist
 * only for a block of rows at a time.
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
import { usualBlockBytes } from "./block_bytes.ts";

/**
 * log p(token t | tokens before it, condition) in nats, [batch, tokenCount], for tokens[batch, tokenCount] (i32).
 * `input` is `ImageTokenizer.transformerInput` of the tokens. It keeps all logits at once, so it is for a few images.
 */
export function tokenLogProbs(variant: Variant, input: Tensor, tokens: Tensor, condition: Condition): Tensor {
  return scope(() => logSoftmaxGather(variant.logits(input, condition), tokens));
}

/** Scores of one image's tokens under one class and one sampler, [tokens] each. Log-probabilities are in nats. */
export interface TokenScores {
  /** log p(token | tokens before it, class). Without a class it equals `unconditional`. */
  readonly conditional: Float32Array;
  /** log p(token | tokens before it). */
  readonly unconditional: Float32Array;
  /** Log-probability under the sampler's distribution: with guidance and temperature, before top-k and top-p. */
  readonly guided: Float32Array;
  /** Rank under the guided distribution, from 1: 1 plus the number of codes that are likelier than the token. */
  readonly rank: Float32Array;
  /** 1 if the sampler's top-k and top-p admit the token, else 0. */
  readonly supported: Float32Array;
  /** The numbers of `rowStatistics`, by name: those of the first sampler, whichever this is. */
  readonly extra: Readonly<Record<string, Float32Array>>;
}

/** A block of rows, one per token. Tensors that a callback makes are freed after it, except those that it returns. */
export interface RowBlock {
  /** Logits under the class, [rows, codes]. */
  readonly conditional: Tensor;
  /** Logits without a class, [rows, codes]. */
  readonly unconditional: Tensor;
  /** Guided logits of the first sampler, divided by the temperature, [rows, codes]. */
  readonly guided: Tensor;
  /** The token of each row, [rows] (i32). */
  readonly tokens: Tensor;
}

/** How tokens are scored. */
export interface ScorerOptions {
  /**
   * Bytes for a block of logits and what is computed from it. Default: `usualBlockBytes`. A block has at least one row.
   */
  readonly blockBytes?: number;
  /** Images per pass, each under one class. Default 8. */
  readonly batch?: number;
  /** The unconditional condition, if the caller has it. Otherwise the scorer makes and owns one. */
  readonly unconditional?: Condition;
  /** Computes further numbers of every row from its logits, [rows] each. */
  readonly rowStatistics?: (block: RowBlock) => Readonly<Record<string, Tensor>>;
}

/** Tensors [rows, codes] that exist at the peak of a block: without top-k and top-p, and with them. */
const blockTensors = { whole: 8, narrow: 20 };

/** One image to score under one class. */
export interface Job {
  /** Index of the image. */
  readonly image: number;
  /** The class; null without one. */
  readonly label: number | null;
}

/** Hidden states [jobs, tokens, width] of jobs, in their order. */
interface Pass {
  readonly jobs: readonly Job[];
  readonly hidden: Tensor;
}

/** A sampler's rule, with what it needs on the device. */
interface Draw {
  readonly rule: DrawRule;
  readonly tokens: TokenDraw;
  /** The rule's coefficients, [tokens, 1] each. */
  readonly coefficients: readonly Tensor[];
}

/** Whether top-k or top-p leave out codes. */
function isNarrow({ support: { topK, topP } }: DrawRule, codes: number): boolean {
  return (topK > 0 && topK < codes) || (topP > 0 && topP < 1);
}

/** Columns of `TokenScores` for every sampler: guided and rank. The support is that of the first one alone. */
const samplerColumns = 2;

/**
 * Scores tokens under one variant and one sampler or more. All samplers share the passes. It owns small tensors, so
 * dispose it. It does not own the networks.
 */
export class TokenScorer {
  readonly #draws: readonly Draw[];
  readonly #blockRows: number;
  readonly #batch: number;
  /** The unconditional condition that the scorer made. */
  #madeCondition: Condition | undefined;

  /** A scorer for one variant. Throws without samplers. */
  constructor(
    readonly device: Device,
    readonly tokenizer: ImageTokenizer,
    readonly variant: Variant,
    samplers: readonly Sampler[],
    readonly options: ScorerOptions = {},
  ) {
    if (samplers.length === 0) throw new RangeError(`${variant.name}: expected a sampler to score with, got none`);
    const { blockBytes = usualBlockBytes(device), batch = 8 } = options;
    const rules = samplers.map((sampler) => variant.drawRule(sampler));
    const narrow = rules.some((rule) => isNarrow(rule, variant.codes));
    this.#blockRows = Math.max(
      1,
      Math.floor(blockBytes / (4 * variant.codes * (narrow ? blockTensors.narrow : blockTensors.whole))),
    );
    this.#batch = batch;
    this.#draws = rules.map((rule) => ({
      rule,
      tokens: new TokenDraw(device, variant.codes, rule.support),
      coefficients: rule.coefficients.map((values) => keep(fromArray(device, values, [values.length, 1]))),
    }));
  }

  /** How each sampler draws: guidance, temperature, top-k and top-p. */
  get rules(): readonly DrawRule[] {
    return this.#draws.map(({ rule }) => rule);
  }

  /**
   * Scores tokens[images * tokenCount], image after image, each under its classes (null: without a class). Result:
   * [image][class][sampler]. Throws if the number of tokens does not fit.
   *
   * An image's unconditional hidden states are computed once for all its classes. Where preparing a condition is
   * expensive (RAR: half a pass), it is prepared once for all images of the call that have the class.
   */
  async score(tokens: Int32Array, classes: readonly (readonly (number | null)[])[]): Promise<TokenScores[][][]> {
    const n = this.variant.tokenCount, images = classes.length;
    if (tokens.length !== images * n) {
      throw new RangeError(`score: expected ${images} images of ${n} tokens, got ${tokens.length} tokens`);
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
    const results: TokenScores[][][] = classes.map(() => []);
    order.forEach(({ image, label }, i) => {
      const column = (k: number) => values.slice(k * total + i * n, k * total + (i + 1) * n);
      const [conditional, unconditional] = [0, 1].map(column);
      const before = 3 + this.#draws.length * samplerColumns, supported = column(2);
      const extra = Object.fromEntries(names.map((name, k) => [name, column(before + k)]));
      results[image][classes[image].indexOf(label)] = this.#draws.map((_, s) => {
        const [guided, rank] = [3, 4].map((k) => column(s * samplerColumns + k));
        return { conditional, unconditional, guided, rank, supported, extra };
      });
    });
    return results;
  }

  /**
   * The recorded work of `score`. `packed` is [columns, jobs * tokenCount]: the conditional and the unconditional
   * column, the support, the `samplerColumns` of every sampler, then the extra ones, called `names`. `order` has the jobs in the
   * order of their numbers. There must be at least one job.
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
      // Jobs without a class need only the unconditional pass.
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
        concat(columns[0].map((_, k) => concat(columns.map((tensors) => tensors[k]), 0).reshape(1, -1)), 0)
      );
      return { order: scored.flatMap(({ jobs }) => jobs), packed, names };
    });
  }

  /**
   * Runs the network for jobs. Where a condition's tables have a row per token, a batch has one class, so that its
   * tables serve all images. Where they are small, a batch may have any classes. A result has either only unconditional
   * jobs, in the order of the images, or only conditional ones.
   */
  #passes(input: Tensor, jobs: readonly Job[]): Pass[] {
    const { variant } = this;
    const passes: Pass[] = [];
    const run = (batch: readonly Job[], condition: Condition) => {
      const hidden = scope(() => variant.hiddenStates(this.#rowsOf(input, batch), condition));
      let start = 0;
      for (let end = 1; end <= batch.length; end++) {
        if (end < batch.length && (batch[end].label === null) === (batch[start].label === null)) continue;
        const isAll = end - start === batch.length;
        passes.push({ jobs: batch.slice(start, end), hidden: isAll ? hidden : slice(hidden, 0, start, end) });
        start = end;
      }
    };
    if (!variant.conditionCost.perToken) {
      for (const batch of chunks(jobs, this.#batch)) {
        const condition = variant.condition(batch.map(({ label }) => label));
        run(batch, condition);
        condition.dispose();
      }
      return passes;
    }
    for (const label of new Set(jobs.map(({ label }) => label))) {
      const condition = label === null ? this.#unconditional() : variant.condition([label]);
      for (const batch of chunks(jobs.filter((job) => job.label === label), this.#batch)) run(batch, condition);
      if (label !== null) condition.dispose();
    }
    return passes;
  }

  #unconditional(): Condition {
    return this.options.unconditional ?? (this.#madeCondition ??= keep(this.variant.condition([null])));
  }

  /** The rows of x[images, ...] for the images of jobs: [jobs, ...]. */
  #rowsOf(x: Tensor, jobs: readonly Job[]): Tensor {
    const [images, ...rest] = x.shape;
    if (jobs.length === images && jobs.every(({ image }, i) => image === i)) return x.alias();
    const index = fromArray(this.device, Int32Array.from(jobs, ({ image }) => image), [jobs.length]);
    return embedding(x.reshape(images, -1), index).reshape(jobs.length, ...rest);
  }

  /**
   * Columns of numbers, [jobs * tokens] each, in the order of `record`; the names of the extra ones are `extra`. `base`
   * has the unconditional hidden states of all images.
   */
  #score(pass: Pass, base: Tensor, ids: Int32Array): { tensors: Tensor[]; extra: string[] } {
    const { variant, device, options } = this;
    const n = variant.tokenCount, { codes } = variant;
    const rows = pass.jobs.length * n, width = base.shape[2];
    const isPlain = pass.jobs[0].label === null;
    const hidden = pass.hidden.reshape(rows, width);
    const plain = isPlain ? hidden : this.#rowsOf(base, pass.jobs).reshape(rows, width);
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
        const conditional = variant.codeLogits(slice(hidden, 0, start, end));
        const unconditional = isPlain ? conditional : variant.codeLogits(slice(plain, 0, start, end));
        const index = fromArray(device, at, [end - start]);
        const guide = (draw: Draw) => this.#guide(draw, conditional, isPlain ? null : unconditional, index);
        const further = scope(() =>
          options.rowStatistics?.({ conditional, unconditional, guided: guide(this.#draws[0]), tokens }) ?? {}
        );
        extra = Object.keys(further);
        return [
          logSoftmaxGather(conditional, tokens),
          logSoftmaxGather(unconditional, tokens),
          ...this.#draws.flatMap((draw, s) =>
            scope(() => {
              const guided = guide(draw), columns = this.#drawColumns(guided, tokens, place);
              return s === 0 ? [this.#supported(draw, guided, place), ...columns] : columns;
            })
          ),
          ...Object.values(further),
        ];
      });
      parts.push(block);
    }
    return { tensors: parts[0].map((_, k) => concat(parts.map((part) => part[k]), 0)), extra };
  }

  /**
   * A sampler's guided logits[rows, codes], divided by its temperature. `index`[rows] has the place of each row's
   * token. Without a class there are no unconditional logits, and no guidance.
   */
  #guide({ rule, coefficients }: Draw, conditional: Tensor, unconditional: Tensor | null, index: Tensor): Tensor {
    const guided = rule.isGuided && unconditional !== null
      ? rule.guide(conditional, unconditional, coefficients.map((values) => embedding(values, index)))
      : conditional;
    return rule.temperature === 1 ? guided : affine(guided, 1 / rule.temperature);
  }

  /**
   * The `samplerColumns` of one sampler, [rows] each: guided, rank. `place` has the index of each row's token in all
   * guided logits.
   */
  #drawColumns(guided: Tensor, tokens: Tensor, place: Tensor): Tensor[] {
    const own = embedding(guided.reshape(-1, 1), place); // [rows, 1]
    return [logSoftmaxGather(guided, tokens), affine(sum(less(own, guided), 1), 1, 1)];
  }

  /** Whether the sampler could have drawn each row's token, [rows], 1 or 0. */
  #supported({ rule, tokens: draw }: Draw, guided: Tensor, place: Tensor): Tensor {
    const rows = guided.shape[0];
    if (!isNarrow(rule, this.variant.codes)) return full(this.device, [rows], 1);
    return less(full(this.device, [1], 0), embedding(draw.weights(guided).reshape(-1, 1), place).reshape(rows));
  }

  /** Frees the scorer's tensors. */
  dispose(): void {
    for (const { tokens, coefficients } of this.#draws) {
      tokens.dispose();
      coefficients.forEach((tensor) => tensor.dispose());
    }
    this.#madeCondition?.dispose();
  }
}
