/**
 * The likelihood of tokens under one variant: teacher-forced, per token, under one or more classes per image.
 *
 * Hidden states are as wide as the model, and are kept for a whole batch. Logits are as wide as the codebook, and exist
 * only for a block of rows at a time.
 */
import {
  concat,
  type Device,
  disposeAll,
  embedding,
  fromArray,
  full,
  guidedScores,
  keep,
  logSoftmaxGather,
  scope,
  slice,
  type Tensor,
} from "../../core/tensor/mod.ts";
import type { Condition, ImageTokenizer, Variant } from "../../models/family.ts";
import { TokenDraw } from "../../models/sampling.ts";
import { type DrawRule, type Mixing, type Sampler, unmixed } from "../../models/draw_rule.ts";
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
const blockTensors = { whole: 8, narrow: 10 };

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

/** Whether top-k or top-p leave out codes. */
function isNarrow({ support: { topK, topP } }: DrawRule, codes: number): boolean {
  return (topK > 0 && topK < codes) || (topP > 0 && topP < 1);
}

/** Numbers of `guidedScores` per row: a log-probability and a rank. */
const scoreColumns = 2;

/** How the logits under the class, and those without one, are columns of `guidedScores` beside the samplers' guided ones. */
const alone: readonly Mixing[] = [unmixed, { factor: 0, share: 0, base: 1 }];

/**
 * Scores tokens under one variant and one sampler or more. All samplers share the passes. It owns small tensors, so
 * dispose it. It does not own the networks.
 */
export class TokenScorer {
  readonly #rules: readonly DrawRule[];
  /** The first sampler's, where it leaves out codes. */
  readonly #draw: TokenDraw | undefined;
  /** `mixing` of `guidedScores` with a class and without one. */
  readonly #mixing: Readonly<Record<"guided" | "plain", Tensor>>;
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
    this.#rules = samplers.map((sampler) => variant.drawRule(sampler));
    const [own] = this.#rules, isNarrowed = isNarrow(own, variant.codes);
    this.#blockRows = Math.max(
      1,
      Math.floor(blockBytes / (4 * variant.codes * (isNarrowed ? blockTensors.narrow : blockTensors.whole))),
    );
    this.#batch = batch;
    this.#draw = isNarrowed ? new TokenDraw(device, variant.codes, own.support) : undefined;
    this.#mixing = keep({
      guided: mixingTensor(device, this.#rules),
      plain: mixingTensor(device, this.#rules.map((rule) => ({ ...rule, mixing: rule.mixing.map(() => unmixed) }))),
    });
  }

  /** How each sampler draws: guidance, temperature, top-k and top-p. */
  get rules(): readonly DrawRule[] {
    return this.#rules;
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
      const column = (group: number, k: number) => {
        const start = (scoreColumns * group + k) * total + i * n;
        return values.slice(start, start + n);
      };
      const samplers = this.#rules.length, [conditional, unconditional] = [0, 1].map((k) => column(samplers + k, 0));
      const supported = column(samplers + alone.length, 0);
      const extra = Object.fromEntries(names.map((name, k) => [name, column(samplers + alone.length, 1 + k)]));
      results[image][classes[image].indexOf(label)] = this.#rules.map((_, s) => {
        return { conditional, unconditional, guided: column(s, 0), rank: column(s, 1), supported, extra };
      });
    });
    return results;
  }

  /**
   * The recorded work of `score`. `packed` is [columns, jobs * tokenCount]: the `scoreColumns` of every sampler, of the
   * conditional and of the unconditional logits, then the support and the extra ones, called `names`. `order` has the jobs
   * in the order of their numbers. There must be at least one job.
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
      const parts: Tensor[] = [];
      let names: string[] = [];
      for (const pass of scored) {
        const { columns, extra } = scope(() => this.#score(pass, base, ids));
        parts.push(columns);
        names = extra;
      }
      return { order: scored.flatMap(({ jobs }) => jobs), packed: joined(parts), names };
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
   * Columns of numbers, [columns, jobs * tokens], in the order of `record`; the names of the extra ones are `extra`.
   * `base` has the unconditional hidden states of all images.
   */
  #score(pass: Pass, base: Tensor, ids: Int32Array): { columns: Tensor; extra: string[] } {
    const { variant, device, options } = this;
    const n = variant.tokenCount;
    const rows = pass.jobs.length * n, width = base.shape[2];
    const isPlain = pass.jobs[0].label === null;
    const hidden = pass.hidden.reshape(rows, width);
    const plain = isPlain ? hidden : this.#rowsOf(base, pass.jobs).reshape(rows, width);
    const parts: Tensor[] = [];
    let extra: string[] = [];
    for (let start = 0; start < rows; start += this.#blockRows) {
      const end = Math.min(rows, start + this.#blockRows), count = end - start;
      parts.push(scope(() => {
        const tokenOf = (_: unknown, i: number) => {
          const r = start + i;
          return ids[pass.jobs[Math.floor(r / n)].image * n + r % n];
        };
        const chosen = Int32Array.from({ length: count }, tokenOf), tokens = fromArray(device, chosen, [count]);
        const place = fromArray(device, Int32Array.from({ length: count }, (_, i) => (start + i) % n), [count]);
        const conditional = variant.codeLogits(slice(hidden, 0, start, end));
        const unconditional = isPlain ? conditional : variant.codeLogits(slice(plain, 0, start, end));
        const { scores, guided } = guidedScores({
          ...{ conditional, unconditional, index: tokens, place },
          mixing: this.#mixing[isPlain ? "plain" : "guided"],
        }, { keepsGuided: this.#draw !== undefined || options.rowStatistics !== undefined });
        const further = options.rowStatistics === undefined
          ? {}
          : scope(() => options.rowStatistics!({ conditional, unconditional, guided: guided!, tokens }));
        extra = Object.keys(further);
        const supported = this.#draw?.admits(guided!, chosen) ?? full(device, [count], 1);
        const columns = [supported, ...Object.values(further)].map((column) => column.reshape(1, count));
        return concat([scores.reshape(-1, count), ...columns], 0);
      }));
    }
    return { columns: joined(parts), extra };
  }

  /** Frees the scorer's tensors. */
  dispose(): void {
    this.#draw?.dispose();
    disposeAll(Object.values(this.#mixing));
    this.#madeCondition?.dispose();
  }
}

/** `mixing` of `guidedScores`: [samplers and `alone`, tokens, 4]. */
function mixingTensor(device: Device, rules: readonly DrawRule[]): Tensor {
  const tokens = rules[0].mixing.length;
  const rows = [
    ...rules.flatMap(({ mixing, temperature }) => mixing.map((of) => ({ ...of, scale: 1 / temperature }))),
    ...alone.flatMap((of) => new Array(tokens).fill({ ...of, scale: 1 })),
  ];
  const numbers = rows.flatMap(({ factor, share, base, scale }) => [factor, share, base, scale]);
  return fromArray(device, Float32Array.from(numbers), [rules.length + alone.length, tokens, 4]);
}

/** Parts [columns, some] in one, [columns, all]. */
function joined(parts: readonly Tensor[]): Tensor {
  return parts.length === 1 ? parts[0] : concat(parts, 1);
}
