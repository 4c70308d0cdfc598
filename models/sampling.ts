/**
 * Draws tokens from logits: restricts the codes (top-k, top-p), and draws one by seeded uniform numbers. All of it runs
 * on the device, so nothing is read back between two tokens. Guidance is in the families' generate.ts.
 *
 * Sources: FoundationVision/VAR, models/helpers.py (sample_with_top_k_top_p_); bytedance/1d-tokenizer, modeling/rar.py
 * (generate). They draw with torch.multinomial from one generator per batch; here the random numbers depend on image
 * and token only, see `TokenNoise`.
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

/** Which codes may be drawn. 0 turns a rule off. */
export interface Support {
  /** Codes whose logit is at least the k-th largest; equal logits stay together. */
  readonly topK: number;
  /** Of those, the fewest most likely ones with more than this share of the probability; 1 keeps all. */
  readonly topP: number;
}

/** All codes. */
export const wholeSupport: Support = { topK: 0, topP: 0 };

/** Options of a generator. */
export interface GenerateOptions {
  /** Class of every image, null for the unconditional one. */
  readonly labels: readonly (number | null)[];
  /**
   * Number of every image in the series of `seed`, 0 to 2^32 - 1. Its random numbers depend on seed and number only.
   */
  readonly images: readonly number[];
  /** See `seriesSeed`. */
  readonly seed: number;
  /** Takes the most likely code always; temperature, support and seed have no effect then. */
  readonly argmax?: boolean;
  /** VAR's `more_smooth`: decodes mixtures of codes; `tokens` are those of the largest shares. Not with `argmax`. */
  readonly moreSmooth?: boolean;
  /**
   * Called with the guided logits[batch, tokens, codes] of every step, before temperature; they are freed afterwards.
   */
  readonly onStep?: (logits: Tensor) => void;
  /** Called after every step with the share of the tokens that are drawn. */
  readonly onProgress?: (share: number) => void;
  /** Stops between two steps by throwing the signal's reason. */
  readonly signal?: AbortSignal;
}

/** Throws RangeError for lists of different lengths, and for image numbers out of range. */
export function checkOptions(operation: string, { labels, images }: GenerateOptions): void {
  if (labels.length === 0) throw new RangeError(`${operation}: expected at least one image, got none`);
  if (labels.length !== images.length) {
    throw new RangeError(
      `${operation}: expected one number per label, got ${labels.length} labels, ${images.length} numbers`,
    );
  }
  const wrong = images.find((image) => !(Number.isInteger(image) && image >= 0 && image < 2 ** 32));
  if (wrong !== undefined) {
    throw new RangeError(`${operation}: images expects whole numbers from 0 to 2^32 - 1, got ${wrong}`);
  }
}

/** Largest seed that a user may choose. */
export const maxSeed = 2 ** 32 - 1;

/**
 * The Philox key of a variant's images for a user's seed (0 to 2^32 - 1): the seed, and above it 21 bits of a hash of
 * the variant's name, so that variants have different random numbers for equal seeds. Throws RangeError for another
 * seed.
 */
export function seriesSeed(seed: number, variant: string): number {
  if (!(Number.isInteger(seed) && seed >= 0 && seed <= maxSeed)) {
    throw new RangeError(`seed: expected a whole number from 0 to ${maxSeed}, got ${seed}`);
  }
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(variant)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return seed + ((hash ^ (hash >>> 21)) & 0x1fffff) * 2 ** 32;
}

/** A random class for an image, uniform in 0..classes - 1, independent of the random numbers of its tokens. */
export function randomClass(seed: number, image: number, classes: number): number {
  const words = new Uint32Array(4);
  philox(seed, image, 2 ** 32, words);
  return Math.floor(words[0] / 2 ** 32 * classes);
}

/**
 * Two uniform numbers in [0, 1) for every token: token t of an image takes numbers 2t and 2t + 1 of its Philox stream.
 */
export class TokenNoise {
  readonly #first: Tensor;
  readonly #second: Tensor;
  readonly #batch: number;

  constructor(device: Device, seed: number, images: readonly number[], tokens: number) {
    const first = new Float32Array(images.length * tokens), second = first.slice();
    images.forEach((image, b) => {
      const numbers = uniforms(seed, image, 2 * tokens);
      for (let t = 0; t < tokens; t++) {
        first[b * tokens + t] = numbers[2 * t];
        second[b * tokens + t] = numbers[2 * t + 1];
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

/** Most elements of a temporary tensor; more rows are drawn in parts. Bounds memory, and keeps indices exact in f32. */
export const partElements = 2 ** 21;

/** By how much sums of weights may differ that were added in another order, relative to them. */
const roundings = 2 ** -20;

/** Draws codes from rows of logits[rows, codes]. Holds small constant tensors: dispose it when done. */
export class TokenDraw {
  readonly codes: number;
  readonly support: Support;
  readonly #device: Device;
  readonly #group: number;
  readonly #sums = new Map<string, Tensor>();

  /** Throws RangeError when a rule of the support is out of range. */
  constructor(device: Device, codes: number, support: Support = wholeSupport) {
    const { topK, topP } = support;
    if (!(Number.isInteger(topK) && topK >= 0 && topK <= codes)) {
      throw new RangeError(`top-k: expected a whole number from 0 (off) to the ${codes} codes, got ${topK}`);
    }
    if (!(topP >= 0 && topP <= 1)) throw new RangeError(`top-p: expected a number from 0 (off) to 1, got ${topP}`);
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
        const part = (x: Tensor) => slice(x, 0, start, end);
        parts.push(scope(() => this.#pickCode(this.weights(part(logits)), part(first), part(second))));
      }
      return concat(parts, 0);
    });
  }

  /** Weights [rows, codes] for drawing: proportional to the softmax of logits[rows, codes] in the support, else 0. */
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
   * Whether the support has each row's code, [rows], 1 or 0, for logits[rows, codes]. Codes with the logit of the last
   * one that stays are all taken for members, as is one that lies beyond it by no more than rounding.
   */
  admits(logits: Tensor, codes: Int32Array): Tensor {
    const { topK: k, topP: p } = this.support;
    return scope(() => {
      const rows = logits.shape[0];
      const index = fromArray(this.#device, codes.map((code, r) => r * this.codes + code) as Int32Array<ArrayBuffer>, [
        rows,
      ]);
      const own = embedding(logits.reshape(-1, 1), index); // [rows, 1]
      const { values } = topK(logits, k === 0 ? this.codes : k); // descending
      const listed = values.shape[1];
      const isListed = lessEqual(slice(values, 1, listed - 1), own);
      if (!(p > 0 && p < 1)) return isListed.reshape(rows);
      const weights = exp(sub(values, slice(values, 1, 0, 1)));
      const before = sum(mul(weights, less(own, values)), 1, true);
      return mul(isListed, lessEqual(before, affine(sum(weights, 1, true), p * (1 + roundings)))).reshape(rows);
    });
  }

  /**
   * Sets those of the weights `all` to 0 that top-p removes. The reference sorts ascending and removes codes while the
   * sum so far is at most (1 - p) of all. So, in descending order, a code stays while the sum of those before it is
   * below p. Of equal logits at the border the higher codes stay, because the reference's sort puts lower codes first.
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
    // Number of tied codes that stay: while the sum before is below the limit, but at least one.
    const tiedWeight = clamp(exp(sub(border, top)), 1e-30, 1); // a weight too small for f32 must not divide by 0
    const room = div(sub(limit, sum(mul(all, above), 1, true)), tiedWeight);
    const stays = less(this.#others(tied, "later"), clamp(room, 0.5, listed + this.codes));
    return mul(all, add(above, mul(tied, stays)));
  }

  /**
   * Draws a code per row of weights w[rows, codes] in two steps: a group of codes, then a code of the group. Each is
   * the first whose cumulative weight exceeds the uniform number's share of the total. It has weight above 0, however
   * sums are rounded, so a code outside of the support is never drawn.
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

  /**
   * Position [rows, 1] (f32) drawn by w[rows, n]. A number has 24 bits and is below 1, so the product is below the
   * total.
   */
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

  /**
   * The weight whose `linear` map sums, for every j < n, the elements at i < j (earlier), i <= j (through) or i > j.
   */
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

  /** Index of the first element of every row of a [rows, n] table: [rows, 1], f32, exact below 2^24. */
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

/** Longest time between yields to the event loop (signals, progress), in milliseconds. */
const yieldInterval = 50;

/** Yields to the event loop from time to time, and throws the reason of an aborted signal. */
export class Pace {
  #since = performance.now();

  constructor(readonly signal?: AbortSignal) {}

  async step(): Promise<void> {
    if (performance.now() - this.#since >= yieldInterval) {
      await new Promise((resolve) => setTimeout(resolve, 0));
      this.#since = performance.now();
    }
    this.signal?.throwIfAborted();
  }
}
