/**
 * Revival of codes in the training of a tokenizer: a code that no vector is near to is never chosen, gets no gradient
 * and would stay unused.
 */
import { disposeAll, type Tensor, uniforms } from "../core/tensor/mod.ts";
import type { Quantised } from "../models/tokenizer_training.ts";
import type { TokenizerRecipe } from "./recipe.ts";

/** Steps between revivals, and the share of all steps after which there are none. */
const revivalSteps = 50, revivalShare = 0.7;

/** Codes with less than this share of the tokens that all codes have on average are revived. */
const leastUse = 0.05;

const reviveStream = 0x7a6f6f33;

/** Puts codes that were hardly chosen for a while where vectors are; after the first step, all codes. */
export class Revival {
  readonly #codebook: Tensor;
  readonly #recipe: TokenizerRecipe;
  readonly #used: Float64Array;
  #seen: Quantised | null = null;

  constructor(codebook: Tensor, recipe: TokenizerRecipe) {
    this.#codebook = codebook;
    this.#recipe = recipe;
    this.#used = new Float64Array(codebook.shape[0]);
  }

  /** Takes what a step quantised; `after` frees it. */
  observe(seen: Quantised): void {
    this.#seen = seen;
  }

  /** Counts the codes of the step that was observed, and revives unused ones where it is time. */
  async after(step: number): Promise<void> {
    const { vectors, tokens } = this.#seen!;
    for (const token of await tokens.ints()) this.#used[token]++;
    const due = step === 0 || ((step + 1) % revivalSteps === 0 && step < revivalShare * this.#recipe.steps);
    if (due) await this.#revive(step, await vectors.data());
    if (due || (step + 1) % revivalSteps === 0) this.#used.fill(0);
    disposeAll([vectors, tokens]);
    this.#seen = null;
  }

  /** Puts hardly used codes at random vectors of the last batch. */
  async #revive(step: number, vectors: Float32Array<ArrayBuffer>): Promise<void> {
    const [codes, channels] = this.#codebook.shape;
    const values = await this.#codebook.data();
    const total = this.#used.reduce((sum, n) => sum + n, 0);
    const draws = uniforms(this.#recipe.seed + step, reviveStream, codes);
    const rows = vectors.length / channels;
    for (let code = 0; code < codes; code++) {
      if (step > 0 && this.#used[code] >= leastUse * total / codes) continue;
      const row = Math.floor(draws[code] * rows);
      values.set(vectors.subarray(row * channels, (row + 1) * channels), code * channels);
    }
    this.#codebook.device.write(this.#codebook.storage, values);
  }
}
