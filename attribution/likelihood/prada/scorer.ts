/** Scores images with a fitted PRADA score function on a device, a bounded number at a time. */
import { concat, type Device, fromArray, scope, type Tensor } from "../../../core/tensor/mod.ts";
import { network, type ParameterTensors, Scales, scoreTokens, uploadParameters, valuesOf } from "./network.ts";
import type { ScoreFunction, TokenPairs } from "./score_function.ts";

/** Scores of one image under one model. */
export interface ImageScore {
  /** Above 0, the model more likely generated the image than not. */
  readonly score: number;
  /** Mean of the tokens' scores per scale, before weighting. */
  readonly scaleMeans: Float32Array;
  /** Score of every token. */
  readonly tokenScores: Float32Array;
}

/** Bytes for the hidden layers of a batch. */
const batchBytes = 32 * 2 ** 20;

/** A score function on a device. Dispose it when done. */
export class PradaScorer {
  /** The score function. */
  readonly scoreFunction: ScoreFunction;
  readonly #device: Device;
  readonly #parameters: ParameterTensors;
  #scales: Scales | null = null;

  /** Uploads the weights. */
  constructor(device: Device, scoreFunction: ScoreFunction) {
    this.scoreFunction = scoreFunction;
    this.#device = device;
    this.#parameters = uploadParameters(device, scoreFunction);
  }

  /**
   * Scores a stream of images, in order. All must have as many tokens as the first one. Throws, naming the image, on
   * lists of another length and on values that are not finite.
   */
  async *scores(images: Iterable<TokenPairs> | AsyncIterable<TokenPairs>): AsyncGenerator<ImageScore> {
    let batch: TokenPairs[] = [];
    let first = 0, tokens = -1;
    for await (const image of images) {
      if (tokens < 0) tokens = image.conditional.length;
      checkPairs("PradaScorer", image, first + batch.length, tokens);
      batch.push(image);
      if (batch.length * tokens * this.scoreFunction.hidden * 16 >= batchBytes) {
        yield* await this.#score(batch);
        first += batch.length;
        batch = [];
      }
    }
    if (batch.length > 0) yield* await this.#score(batch);
  }

  /** The network's output for weighted differences (2 - alpha) c - alpha u, for plots of the fitted function. */
  async curve(differences: readonly number[]): Promise<Float32Array> {
    const x = Float32Array.from(differences);
    return await valuesOf(() => network(this.#parameters, fromArray(this.#device, x, [x.length, 1])));
  }

  async #score(images: readonly TokenPairs[]): Promise<ImageScore[]> {
    const tokens = images[0].conditional.length, count = images.length;
    if (this.#scales?.tokens !== tokens) {
      this.#scales?.dispose();
      this.#scales = null;
      this.#scales = new Scales(this.#device, this.scoreFunction.scaleLengths, tokens);
    }
    const scales = this.#scales.lengths.length, width = 1 + scales + tokens;
    const values = await valuesOf(() => {
      const [conditional, unconditional] = pairTensors(this.#device, images);
      const result = scoreTokens(this.#parameters, conditional, unconditional, this.#scales!);
      return concat([result.scores.reshape(count, 1), result.scaleMeans, result.tokenScores], 1);
    });
    return images.map((_, i) => {
      const row = values.subarray(i * width, (i + 1) * width);
      return { score: row[0], scaleMeans: row.slice(1, 1 + scales), tokenScores: row.slice(1 + scales) };
    });
  }

  /** Frees the weights. */
  dispose(): void {
    this.#scales?.dispose();
    for (const tensor of Object.values(this.#parameters)) tensor.dispose();
  }
}

/** Uploads conditional[images, tokens] and unconditional[images, tokens]. */
export function pairTensors(
  device: Device,
  images: readonly TokenPairs[],
): readonly [conditional: Tensor, unconditional: Tensor] {
  const tokens = images[0].conditional.length;
  const upload = (of: (image: TokenPairs) => Float32Array) => {
    const values = new Float32Array(images.length * tokens);
    images.forEach((image, i) => values.set(of(image), i * tokens));
    return fromArray(device, values, [images.length, tokens]);
  };
  return scope(() => [upload((image) => image.conditional), upload((image) => image.unconditional)] as const);
}

/** Throws if an image does not have `tokens` finite values of both kinds. `op` begins the message. */
export function checkPairs(
  op: string,
  { conditional, unconditional }: TokenPairs,
  image: number,
  tokens: number,
): void {
  if (conditional.length !== tokens || unconditional.length !== tokens || tokens === 0) {
    throw new RangeError(
      `${op}: image ${image} expects ${tokens || "at least one"} conditional and unconditional log-probabilities, ` +
        `got ${conditional.length} and ${unconditional.length}`,
    );
  }
  for (const [name, values] of [["conditional", conditional], ["unconditional", unconditional]] as const) {
    const wrong = values.findIndex((value) => !Number.isFinite(value));
    if (wrong >= 0) {
      throw new RangeError(`${op}: image ${image}: the ${name} value of token ${wrong} is ${values[wrong]}`);
    }
  }
}
