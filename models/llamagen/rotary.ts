/**
 * Rotary position embedding in two dimensions. Pairs of channels are neighbours; the first half of them turns with the
 * row of a token, the second with its column. Source: FoundationVision/LlamaGen, autoregressive/models/gpt.py
 * (`precompute_freqs_cis_2d`, `apply_rotary_emb`).
 */
import { add, type Device, fromArray, keep, matmul, mul, scope, slice, type Tensor } from "../../core/tensor/mod.ts";

/** Base of the frequencies. */
const base = 10000;

/**
 * Cosine and sine of every row's angles, [1 + side^2, headDim] each, the two channels of a pair alike. The row of the
 * class token is all zeros, also its cosine: its query and key become zero vectors.
 */
export function rotaryTable(
  side: number,
  headDim: number,
): { cos: Float32Array<ArrayBuffer>; sin: Float32Array<ArrayBuffer> } {
  if (headDim % 4 !== 0) {
    throw new RangeError(`rotaryTable: expected a multiple of 4 channels per head, got ${headDim}`);
  }
  const rows = 1 + side * side, quarter = headDim / 4;
  const cos = new Float32Array(rows * headDim), sin = new Float32Array(rows * headDim);
  const frequencies = Float32Array.from(
    { length: quarter },
    (_, i) => 1 / Math.fround(base ** (2 * i / (headDim / 2))),
  );
  for (let token = 0; token < side * side; token++) {
    const place = [Math.floor(token / side), token % side];
    for (let pair = 0; pair < headDim / 2; pair++) {
      const angle = Math.fround(place[pair < quarter ? 0 : 1] * frequencies[pair % quarter]);
      const at = (token + 1) * headDim + 2 * pair;
      cos.fill(Math.cos(angle), at, at + 2);
      sin.fill(Math.sin(angle), at, at + 2);
    }
  }
  return { cos, sin };
}

/** The embedding of one grid. Dispose it when done. */
export class Rotary {
  readonly #cos: Tensor;
  readonly #sin: Tensor;
  /** [headDim, headDim]: x times it has (-x1, x0) for every pair (x0, x1). */
  readonly #turn: Tensor;

  constructor(device: Device, side: number, headDim: number) {
    const { cos, sin } = rotaryTable(side, headDim), rows = 1 + side * side;
    const turn = new Float32Array(headDim * headDim);
    for (let i = 0; i < headDim; i += 2) {
      turn[(i + 1) * headDim + i] = -1;
      turn[i * headDim + i + 1] = 1;
    }
    this.#cos = keep(fromArray(device, cos, [rows, 1, headDim]));
    this.#sin = keep(fromArray(device, sin, [rows, 1, headDim]));
    this.#turn = keep(fromArray(device, turn, [headDim, headDim]));
  }

  /** x[batch, rows, heads, headDim], whose first row is row `start` of the sequence -> the same, turned. */
  apply(x: Tensor, start = 0): Tensor {
    return scope(() => {
      const [batch, rows, heads, headDim] = x.shape;
      const part = (table: Tensor) => slice(table, 0, start, start + rows);
      const turned = matmul(x.reshape(batch * rows * heads, headDim), this.#turn).reshape(...x.shape);
      return add(mul(x, part(this.#cos)), mul(turned, part(this.#sin)));
    });
  }

  dispose(): void {
    for (const tensor of [this.#cos, this.#sin, this.#turn]) tensor.dispose();
  }
}
