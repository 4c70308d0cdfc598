/**
 * VAR's `more_smooth`: a token decodes a mixture of all codes instead of one. The shares are a softmax of the logits with
 * Gumbel noise, sharper from scale to scale. Its authors recommend it for pictures and do not measure with it.
 * Source: FoundationVision/VAR, models/var.py (`autoregressive_infer_cfg`) and models/helpers.py
 * (`gumbel_softmax_with_rng`).
 */
import {
  add,
  affine,
  argmax,
  concat,
  type Device,
  fromArray,
  less,
  philox,
  scope,
  slice,
  softmax,
  type Tensor,
} from "../../core/tensor/mod.ts";
import { partElements, TokenDraw } from "../sampling.ts";
import type { VarSampler } from "./config.ts";

/** How a scale is smoothed, by its position s / (S - 1) among the scales: the logits' factor, and the temperature. */
export function smoothing(position: number): { readonly factor: number; readonly temperature: number } {
  return { factor: 1 + position, temperature: Math.max(0.27 * (1 - position * 0.95), 0.005) };
}

/** Standard Gumbel numbers[tokens, codes] of the tokens start..end - 1 of an image; no other draw uses them. */
export function gumbels(
  { seed, image, codes }: { readonly seed: number; readonly image: number; readonly codes: number },
  start: number,
  end: number,
): Float32Array<ArrayBuffer> {
  const perToken = Math.ceil(codes / 4);
  const words = new Uint32Array(4);
  const out = new Float32Array((end - start) * codes);
  for (let t = start; t < end; t++) {
    for (let c = 0; c < codes; c += 4) {
      philox(seed, image, firstCounter + t * perToken + c / 4, words);
      const at = (t - start) * codes + c;
      for (let k = 0; k < 4 && c + k < codes; k++) out[at + k] = -Math.log(-Math.log((words[k] + 0.5) / 2 ** 32));
    }
  }
  return out;
}

/** Token draws count from 0, the class of an image has the counter 2^32. */
const firstCounter = 2 ** 33;

/** What is smoothed. */
export interface SmoothOptions {
  /** Of the series. */
  readonly seed: number;
  /** Numbers of the images of the batch. */
  readonly images: readonly number[];
  /** Number of codes. */
  readonly codes: number;
  /** Its top-k and top-p leave codes out of the mixtures. */
  readonly sampler: VarSampler;
  /** shares[rows, codes] -> mixed codes [rows, channels]. */
  readonly mix: (shares: Tensor) => Tensor;
}

/** Draws mixtures of codes. Dispose it when done. */
export class SmoothDraw {
  readonly #draw: TokenDraw;

  constructor(readonly device: Device, readonly options: SmoothOptions) {
    this.#draw = new TokenDraw(device, options.codes, options.sampler);
  }

  /**
   * Guided logits[batch * (end - start), codes] of a scale -> the mixed codes [rows, channels], and of each row the code
   * (i32) of the largest share, which the noise would draw at temperature 0.
   */
  draw(
    logits: Tensor,
    [start, end]: readonly [start: number, end: number],
    position: number,
  ): { readonly mixed: Tensor; readonly codes: Tensor } {
    const { seed, images, codes, mix } = this.options;
    return scope(() => {
      const noise = images.map((image) => gumbels({ seed, image, codes }, start, end));
      const rows = logits.shape[0], most = Math.max(1, Math.floor(partElements / codes));
      const mixed: Tensor[] = [], chosen: Tensor[] = [];
      for (let from = 0; from < rows; from += most) {
        const to = Math.min(rows, from + most);
        const part = scope(() => {
          const shares = this.#shares(slice(logits, 0, from, to), rowsOf(noise, codes, from, to), position);
          return { mixed: mix(shares), codes: argmax(shares) };
        });
        mixed.push(part.mixed);
        chosen.push(part.codes);
      }
      return { mixed: concat(mixed, 0), codes: concat(chosen, 0) };
    });
  }

  /** Shares [rows, codes] of the codes; those outside of the support have none. */
  #shares(logits: Tensor, noise: Float32Array<ArrayBuffer>, position: number): Tensor {
    const { factor, temperature } = smoothing(position);
    const isIn = less(fromArray(this.device, new Float32Array(1), [1, 1]), this.#draw.weights(logits));
    const raised = add(affine(logits, factor), affine(isIn, far, -far)); // adds 0 within the support
    const noisy = add(raised, fromArray(this.device, noise, logits.shape));
    return softmax(affine(noisy, 1 / temperature));
  }

  dispose(): void {
    this.#draw.dispose();
  }
}

/** Far above any difference of logits, so that exp() of its negative is 0. */
const far = 1e6;

/** Rows from..to - 1 of parts of equal numbers of rows, one after the other. */
function rowsOf(
  parts: readonly Float32Array<ArrayBuffer>[],
  columns: number,
  from: number,
  to: number,
): Float32Array<ArrayBuffer> {
  const out = new Float32Array((to - from) * columns);
  const rows = parts[0].length / columns;
  for (let row = from; row < to; row++) {
    const at = (row % rows) * columns;
    out.set(parts[Math.floor(row / rows)].subarray(at, at + columns), (row - from) * columns);
  }
  return out;
}
