/**
 * A term for training a multi-scale VQVAE whose tokens can be found again in its images: tokens are decoded, the image
 * is rounded to bytes and encoded, and every scale's tokens are to be the likeliest ones given what is read. Not part
 * of the official training; the zoo's tokenizer has it (zoo/README.md says why).
 */
import {
  add,
  affine,
  cast,
  clamp,
  div,
  embedding,
  equal,
  floor,
  fromArray,
  linear,
  logSoftmaxGather,
  matmul,
  mean,
  mul,
  reciprocal,
  scope,
  slice,
  square,
  sub,
  sum,
  type Tensor,
  withoutTape,
} from "../../core/tensor/mod.ts";
import { scaleStarts } from "../family.ts";
import type { SeededStep } from "../family_training.ts";
import { straightThrough } from "../tokenizer_training.ts";
import { draws } from "../training.ts";
import type { Weights } from "../weights.ts";
import type { VqvaeConfig } from "./config.ts";
import type { VarImageTokenizer } from "./family.ts";
import type { MultiScaleQuantizer } from "./quantizer.ts";
import { decode, encode } from "./vqvae.ts";

/** Least variance per value, as a share of fHat's mean square, under which codes are compared. */
const leastNoise = 0.01;

const mixStream = 0x6d697874; // "mixt"

/** images in [-1, 1] as a PNG file has them: cut off, floor(255 x). The gradient is that of the cut-off image. */
export function throughBytes(images: Tensor): Tensor {
  return scope(() => {
    const inside = clamp(images, -1, 1);
    return straightThrough(withoutTape(() => affine(floor(affine(inside, 127.5, 127.5)), 1 / 127.5, -1)), inside);
  });
}

/**
 * Where the tokens of a mixed batch come from: [batch * tokenCount] places in the tokens of a batch of photographs.
 * What a transformer draws fits together less well than those, so with probability 0.5 a scale comes from another
 * image, and a tenth of all tokens from anywhere on the same scale.
 */
export function mixedPlaces(
  batch: number,
  patchNums: readonly number[],
  { seed, step }: SeededStep,
): Int32Array<ArrayBuffer> {
  const starts = scaleStarts(patchNums), count = starts[starts.length - 1];
  const u = draws(seed, mixStream, step, batch * (2 * patchNums.length + 3 * count));
  const places = new Int32Array(batch * count);
  let at = 0;
  for (let image = 0; image < batch; image++) {
    for (let scale = 0; scale < patchNums.length; scale++) {
      const start = starts[scale], length = starts[scale + 1] - start;
      const [another, which] = [u[at++] < 0.5, Math.floor(u[at++] * batch)];
      const source = another ? which : image;
      for (let t = 0; t < length; t++) {
        const [replaced, from, place] = [u[at++] < 0.1, Math.floor(u[at++] * batch), Math.floor(u[at++] * length)];
        places[image * count + start + t] = replaced ? from * count + start + place : source * count + start + t;
      }
    }
  }
  return places;
}

/** tokens[batch, tokenCount] (i32) at `places` of all of them, in the same shape. */
export function mixTokens(tokens: Tensor, places: Int32Array<ArrayBuffer>): Tensor {
  return scope(() => {
    const table = cast(tokens, "f32").reshape(tokens.size, 1);
    return cast(embedding(table, fromArray(tokens.device, places, [places.length])), "i32").reshape(...tokens.shape);
  });
}

/** How well tokens are read from their own images. */
export interface ReadBack {
  /** Mean of the scales' cross-entropies in nats, a scale of pn x pn tokens with the weight pn. */
  readonly loss: Tensor;
  /** Mean squared error of the latents, as a share of fHat's mean square. */
  readonly error: Tensor;
}

/**
 * tokens[batch, tokenCount] (i32) -> how well they are read from their own image, the scales before being known.
 * Call it inside `differentiate`, with all weights dense. Gradients go to encoder, decoder, codes and Phi.
 */
export function readBackLoss(
  tokens: Tensor,
  weights: Weights,
  quantizer: MultiScaleQuantizer,
  config: VqvaeConfig,
): ReadBack {
  const { patchNums, zChannels } = config;
  const starts = scaleStarts(patchNums);
  const codebook = weights.get("quantize.embedding.weight");
  const steps = quantizer.cumulative(tokens);
  const fHat = steps[steps.length - 1];
  const f = encode(throughBytes(decode(fHat, weights, config)), weights, config);
  const energy = mean(square(fHat));
  const squaredError = mean(square(sub(f, fHat)));
  // The variance under which codes are compared: the error of the latents, and never less than a share of their size.
  // It is on the tape, so that larger latents gain nothing by themselves.
  const precision = reciprocal(add(squaredError, affine(energy, leastNoise)));
  const halfNorms = affine(sum(square(codebook), -1), -0.5);
  const total = patchNums.reduce((sum, pn) => sum + pn, 0);
  let loss: Tensor | null = null;
  patchNums.forEach((pn, scale) => {
    const rest = scale === 0 ? f : sub(f, steps[scale - 1]);
    const rows = quantizer.nextInput(rest, scale).reshape(-1, zChannels);
    // -|r - e|^2 / 2 up to a constant, over the variance.
    const scores = mul(linear(rows, codebook, halfNorms), precision);
    const targets = withoutTape(() => {
      const chosen = slice(tokens, 1, starts[scale], starts[scale + 1]);
      return chosen.reshape(chosen.size);
    });
    const term = affine(mean(logSoftmaxGather(scores, targets)), -pn / total);
    loss = loss ? add(loss, term) : term;
  });
  return { loss: loss!, error: div(squaredError, energy) };
}

/**
 * How unequal the variances of the principal directions of f[..., channels] are: channels / effective dimension - 1,
 * where the effective dimension is (sum of variances)^2 / sum of their squares. 0 where all are equal. Nearest codes
 * are far apart in many directions and close together in few.
 */
export function anisotropy(f: Tensor): Tensor {
  const channels = f.shape[f.rank - 1];
  const rows = f.reshape(-1, channels);
  const centred = sub(rows, mean(rows, 0, true));
  const covariance = matmul(centred, centred, { transA: true });
  return affine(div(sum(square(covariance)), square(sum(square(centred)))), channels, -1);
}

/**
 * Which share of the tokens greedy quantisation finds again in the reconstruction of an image (`recovered`), and in the
 * image of mixed tokens (`recoveredMixed`).
 */
export function readBackFigures(
  tokenizer: VarImageTokenizer,
  { tokens, decoded }: { readonly tokens: Tensor; readonly decoded: Tensor },
  at: SeededStep,
): { recovered: Tensor; recoveredMixed: Tensor } {
  return scope(() => {
    const read = (images: Tensor) => tokenizer.quantize(tokenizer.encode(throughBytes(images))).tokens;
    const mixed = mixTokens(tokens, mixedPlaces(tokens.shape[0], tokenizer.patchNums, at));
    return {
      recovered: sameShare(tokens, read(decoded)),
      recoveredMixed: sameShare(mixed, read(tokenizer.decode(tokenizer.dequantize(mixed)))),
    };
  });
}

/** Share of equal tokens. */
const sameShare = (a: Tensor, b: Tensor) => mean(equal(cast(a, "f32"), cast(b, "f32")));
