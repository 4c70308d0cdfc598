/**
 * Drawing tokens from logits: which codes may be drawn (top-k, top-p), and one of them by seeded uniform numbers, all as
 * kernels of the device, so that nothing is read back between two tokens.
 * How logits are guided, and what is done with the tokens, is in rar/generate.ts and var/generate.ts.
 *
 * Sources: FoundationVision/VAR, models/helpers.py (sample_with_top_k_top_p_); bytedance/1d-tokenizer, modeling/rar.py
 * (generate). They draw with torch.multinomial from a generator that the whole batch shares; here every token has random
 * numbers of its own, see `TokenNoise`.
 */
import {
  add,
  affine,
  cast,
  clamp,
  concat,
  type Device,
  div,
  embedding,
  equal,
  exp,
  fromArray,
  keep,
  less,
  lessEqual,
  linear,
  mul,
  packWeight,
  philox,
  scope,
  slice,
  softmax,
  sub,
  sum,
  type Tensor,
  topK,
  uniforms,
} from "../core/tensor/mod.ts";

/** Which codes may be drawn; 0 turns either rule off. */
export interface Support {
  /** Codes whose logit is at least the k-th largest; equal logits stay together. */
  readonly topK: number;
  /** Of those, as few of the most likely as have more than this share of the probability; 1 keeps all. */
  readonly topP: number;
}

/** Everything there is. */
export const wholeSupport: Support = { topK: 0, topP: 0 };

/** What a generator is told beside its network and its sampler. */
export interface GenerateOptions {
  /** Class of every image, null for the unconditional one. */
  readonly labels: readonly (number | null)[];
  /** Number of every image in the series of `seed`, 0 to 2^32 - 1: what its random numbers depend on. */
  readonly images: readonly number[];
  /** See `seriesSeed`. */
  readonly seed: number;
  /** Take the most likely code everywhere; temperature, support and seed then do not matter. */
  readonly argmax?: boolean;
  /** Is given the guided logits[batch, tokens, codes] of every step, before temperature; they are freed afterwards. */
  readonly onStep?: (logits: Tensor) => void;
  /** Called after every step with the share of the tokens that are drawn. */
  readonly onProgress?: (share: number) => void;
  /** Stops between two steps by throwing the signal's reason. */
  readonly signal?: AbortSignal;
}

/** Throws on lists that are not of one length, and on numbers of images that are not whole. */
export function checkOptions(operation: string, { labels, images }: GenerateOptions): void {
  if (labels.length === 0) throw new Error(`${operation}: expected at least one image, got none`);
  if (labels.length !== images.length) {
    throw new Error(
      `${operation}: expected one number per label, got ${labels.length} labels, ${images.length} numbers`,
    );
  }
  const wrong = images.find((image) => !(Number.isInteger(image) && image >= 0 && image < 2 ** 32));
  if (wrong !== undefined) {
    throw new Error(`${operation}: images expects whole numbers from 0 to 2^32 - 1, got ${wrong}`);
  }
}

/** Largest seed that a user may choose. */
export const maxSeed = 2 ** 32 - 1;

/**
 * The Philox key of a variant's images under a user's seed (0 to 2^32 - 1): 21 bits of a hash of the name above the seed,
 * so that equal seeds do not give two variants the same random numbers.
 */
export function seriesSeed(seed: number, variant: string): number {
  if (!(Number.isInteger(seed) && seed >= 0 && seed <= maxSeed)) {
    throw new Error(`seed: expected a whole number from 0 to ${maxSeed}, got ${seed}`);
  }
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(variant)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return seed + ((hash ^ (hash >>> 21)) & 0x1fffff) * 2 ** 32;
}

/** A class for an image, uniform in 0..classes - 1, from a part of the image's random numbers that no token uses. */
export function randomClass(seed: number, image: number, classes: number): number {
  const words = new Uint32Array(4);
  philox(seed, image, 2 ** 32, words);
  return Math.floor(words[0] / 2 ** 32 * classes);
}

/** Two uniform numbers in [0, 1) for every token: token t of an image takes numbers 2t and 2t + 1 of its Philox stream. */
export class TokenNoise {
  readonly #first: Tensor;
  readonly #second: Tensor;
  readonly #batch: number;

  constructor(device: Device, seed: number, images: readonly number[], tokens: number) {
    const first = new Float32Array(images.length * tokens), second = first.slice();
    images.forEach((image, b) => {
      const own = uniforms(seed, image, 2 * tokens);
      for (let t = 0; t < tokens; t++) {
        first[b * tokens + t] = own[2 * t];
        second[b * tokens + t] = own[2 * t + 1];
      }
    });
    this.#batch = images.length;
    this.#first = keep(fromArray(device, first, [images.length, tokens]));
    this.#second = keep(fromArray(device, second, [images.length, tokens]));
  }

  /** The numbers of tokens start..end - 1 of every image: two tensors [batch * (end - start), 1]. */
  at(start: number, end: number): [Tensor, Tensor] {
    const rows = this.#batch * (end - start);
    return [slice(this.#first, 1, start, end).reshape(rows, 1), slice(this.#second, 1, start, end).reshape(rows, 1)];
  }

  dispose(): void {
    this.#first.dispose();
    this.#second.dispose();
  }
}

/** Elements of a temporary tensor above which rows are drawn in parts: bounds memory, and indices stay exact in f32. */
const partElements = 2 ** 21;

/** Draws codes from rows of logits[rows, codes]. Holds small constant tensors: dispose it when done. */
export class TokenDraw {
  readonly codes: number;
  readonly support: Support;
  readonly #device: Device;
  readonly #group: number;
  readonly #sums = new Map<string, Tensor>();

  /** Throws when a rule of the support is out of range. */
  constructor(device: Device, codes: number, support: Support = wholeSupport) {
    const { topK, topP } = support;
    if (!(Number.isInteger(topK) && topK >= 0 && topK <= codes)) {
      throw new Error(`top-k: expected a whole number from 0 (off) to the ${codes} codes, got ${topK}`);
    }
    if (!(topP >= 0 && topP <= 1)) throw new Error(`top-p: expected a number from 0 (off) to 1, got ${topP}`);
    this.codes = codes;
    this.support = support;
    this.#device = device;
    this.#group = groupSize(codes);
  }

  /** Codes[rows] (i32) for logits[rows, codes], each by its two uniform numbers [rows, 1]. */
  draw(logits: Tensor, first: Tensor, second: Tensor): Tensor {
    const rows = logits.shape[0];
    const most = Math.max(1, Math.floor(partElements / this.codes));
    if (rows <= most) return scope(() => this.#pickCode(this.weights(logits), first, second));
    return scope(() => {
      const parts: Tensor[] = [];
      for (let start = 0; start < rows; start += most) {
        const end = Math.min(rows, start + most);
        const own = (x: Tensor) => slice(x, 0, start, end);
        parts.push(scope(() => this.#pickCode(this.weights(own(logits)), own(first), own(second))));
      }
      return concat(parts, 0);
    });
  }

  /**
   * What codes are drawn by, [rows, codes]: proportional to the softmax of logits[rows, codes] for codes of the support, 0
   * for others.
   */
  weights(logits: Tensor): Tensor {
    const { topK: k, topP: p } = this.support;
    const narrow = p > 0 && p < 1;
    if ((k === 0 || k === this.codes) && !narrow) return softmax(logits);
    return scope(() => {
      const listed = k === 0 ? this.codes : k;
      const { values } = topK(logits, listed); // [rows, listed], descending
      const top = slice(values, 1, 0, 1);
      const all = mul(exp(sub(logits, top)), lessEqual(slice(values, 1, listed - 1), logits));
      return narrow ? this.#narrow(logits, all, values, top, p) : all;
    });
  }

  /**
   * Sets the weights `all` of the codes to 0 that top-p removes. The reference sorts ascending and removes while the sum
   * so far is at most (1 - p) of all; from the other end, a code stays while the sum of those before it is below p. Equal
   * logits at the border: the reference's sort puts lower codes first, so the higher ones stay.
   */
  #narrow(logits: Tensor, all: Tensor, values: Tensor, top: Tensor, p: number): Tensor {
    const [rows, listed] = values.shape;
    const limit = affine(sum(all, 1, true), p);
    const before = this.#others(exp(sub(values, top)), "earlier");
    const staying = sum(less(before, limit), 1, true);
    const index = add(this.#rowStarts(rows, listed), clamp(affine(staying, 1, -1), 0, listed - 1));
    const border = embedding(values.reshape(rows * listed, 1), cast(index, "i32").reshape(rows)); // [rows, 1]
    const above = less(border, logits);
    const tied = equal(border, logits);
    // How many of the tied ones stay: while the sum of what is before is below the limit, but the first in any case.
    const each = clamp(exp(sub(border, top)), 1e-30, 1); // a weight too small for f32 must not divide by 0
    const room = div(sub(limit, sum(mul(all, above), 1, true)), each);
    const stays = less(this.#others(tied, "later"), clamp(room, 0.5, listed + this.codes));
    return mul(all, add(above, mul(tied, stays)));
  }

  /**
   * The code of each row of weights w[rows, codes] in two steps, a group of codes and then a code of the group, each the
   * first whose cumulative weight is above the uniform number's share of the total. Such a one has weight above 0, however
   * sums are rounded, so nothing outside of the support is ever drawn.
   */
  #pickCode(w: Tensor, first: Tensor, second: Tensor): Tensor {
    const rows = w.shape[0], size = this.#group, groups = this.codes / size;
    if (groups === 1) return cast(this.#pick(w, first), "i32").reshape(rows);
    const grouped = w.reshape(rows * groups, size);
    const group = this.#pick(sum(grouped, 1).reshape(rows, groups), first);
    const index = cast(add(this.#rowStarts(rows, groups), group), "i32").reshape(rows);
    const code = this.#pick(embedding(grouped, index), second);
    return cast(add(affine(group, size), code), "i32").reshape(rows);
  }

  /** Position [rows, 1] (f32) drawn by w[rows, n]. Numbers below 1 have 24 bits, so the product stays below the total. */
  #pick(w: Tensor, uniform: Tensor): Tensor {
    const n = w.shape[1];
    const cumulative = linear(w, this.#ones("through", n));
    return sum(lessEqual(cumulative, mul(slice(cumulative, 1, n - 1), uniform)), 1, true);
  }

  /** Sum of the elements before (or after) each element of x[rows, n], by groups of about sqrt(n). */
  #others(x: Tensor, which: "earlier" | "later"): Tensor {
    const [rows, n] = x.shape;
    const size = groupSize(n), groups = n / size;
    const grouped = x.reshape(rows * groups, size);
    const within = linear(grouped, this.#ones(which, size));
    if (groups === 1) return within.reshape(rows, n);
    const outside = linear(sum(grouped, 1).reshape(rows, groups), this.#ones(which, groups));
    return add(within, outside.reshape(rows * groups, 1)).reshape(rows, n);
  }

  /** The weight whose `linear` map sums, for every j < n, the elements at i < j (earlier), i <= j (through) or i > j. */
  #ones(which: "earlier" | "through" | "later", n: number): Tensor {
    const key = `${which} ${n}`;
    let weight = this.#sums.get(key);
    if (weight === undefined) {
      const values = new Float32Array(n * n);
      for (let j = 0; j < n; j++) {
        for (let i = 0; i < n; i++) {
          values[j * n + i] = (which === "later" ? i > j : i < j || which === "through" && i === j) ? 1 : 0;
        }
      }
      weight = keep(scope(() => packWeight(fromArray(this.#device, values, [n, n]), "linear")));
      this.#sums.set(key, weight);
    }
    return weight;
  }

  /** Index of the first element of every row of a [rows, n] table, [rows, 1]; as f32, exact below 2^24. */
  #rowStarts(rows: number, n: number): Tensor {
    return fromArray(this.#device, Float32Array.from({ length: rows }, (_, r) => r * n), [rows, 1]);
  }

  dispose(): void {
    for (const tensor of this.#sums.values()) tensor.dispose();
    this.#sums.clear();
  }
}

/** The smallest divisor of n that is at least its square root. */
function groupSize(n: number): number {
  let size = Math.ceil(Math.sqrt(n));
  while (n % size !== 0) size++;
  return size;
}

/** How long generation runs before it lets other tasks of the process run (signals, progress), in milliseconds. */
const turn = 50;

/** Lets the event loop turn now and then, and stops when asked to. */
export class Pace {
  #since = performance.now();

  constructor(readonly signal?: AbortSignal) {}

  async step(): Promise<void> {
    if (performance.now() - this.#since >= turn) {
      await new Promise((resolve) => setTimeout(resolve, 0));
      this.#since = performance.now();
    }
    this.signal?.throwIfAborted();
  }
}
