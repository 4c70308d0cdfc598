/**
 * PRADA's score function on a device: from log-probabilities of tokens to scores of images, with gradients if a tape
 * records.
 *
 * Source: jonasricker/prada, src/prada/prada.py (`forward`, `forward_single_token`).
 */
import {
  add,
  affine,
  type Device,
  elu,
  fromArray,
  keep,
  linear,
  matmul,
  mean,
  mul,
  scope,
  sqrt,
  square,
  sub,
  sum,
  type Tensor,
} from "../../../core/tensor/mod.ts";
import { type ParameterName, parameterNames, parameterShapes, type ScoreFunction } from "./score_function.ts";

/** Parameters on a device. */
export type ParameterTensors = Readonly<Record<ParameterName, Tensor>>;

/** Uploads the parameters of a score function. The caller disposes of every tensor. */
export function uploadParameters(
  device: Device,
  { parameters, hidden, scaleLengths }: ScoreFunction,
): ParameterTensors {
  const shapes = parameterShapes(hidden, scaleLengths?.length ?? 1);
  return Object.fromEntries(
    parameterNames.map((name) => [name, keep(fromArray(device, parameters[name], shapes[name]))]),
  ) as ParameterTensors;
}

/** Which tokens belong to which scale, as matrices, so that means over the tokens of all scales are one product. */
export class Scales {
  /** Tokens per scale. */
  readonly lengths: readonly number[];
  /** Tokens of an image. */
  readonly tokens: number;
  /** [tokens, scales]: 1 / length if the token belongs to the scale, else 0. */
  readonly average: Tensor;
  /** [scales, tokens]: 1 if the token belongs to the scale, else 0. */
  readonly member: Tensor;

  /** Without lengths, all tokens are one scale. Throws if the lengths do not add up to `tokens`. */
  constructor(device: Device, scaleLengths: readonly number[] | null, tokens: number) {
    this.lengths = scaleLengths ?? [tokens];
    this.tokens = tokens;
    const total = this.lengths.reduce((sum, length) => sum + length, 0);
    if (total !== tokens || tokens === 0) {
      throw new RangeError(`PRADA: scales [${this.lengths}] expect ${total} tokens, at least one, got ${tokens}`);
    }
    const scales = this.lengths.length;
    const average = new Float32Array(tokens * scales), member = new Float32Array(scales * tokens);
    let token = 0;
    this.lengths.forEach((length, s) => {
      for (let i = 0; i < length; i++, token++) {
        average[token * scales + s] = 1 / length;
        member[s * tokens + token] = 1;
      }
    });
    this.average = keep(fromArray(device, average, [tokens, scales]));
    this.member = keep(fromArray(device, member, [scales, tokens]));
  }

  /** Frees the matrices. */
  dispose(): void {
    this.average.dispose();
    this.member.dispose();
  }
}

/** Noise on the network's input while fitting. */
export interface Noise {
  /** Standard normal, [images, tokens]. */
  readonly values: Tensor;
  /** Size of the noise in standard deviations of the inputs, taken over all images and the tokens of a scale. */
  readonly scale: number;
}

/** Scores of images. */
export interface Scores {
  /** Outputs of the network, [images, tokens]. */
  readonly tokenScores: Tensor;
  /** Their means per scale, [images, scales]. */
  readonly scaleMeans: Tensor;
  /** Weighted sums over the scales, [images]. */
  readonly scores: Tensor;
}

/** Scores images from conditional[images, tokens] and unconditional[images, tokens] in nats, in the caller's scope. */
export function scoreTokens(
  parameters: ParameterTensors,
  conditional: Tensor,
  unconditional: Tensor,
  scales: Scales,
  noise?: Noise,
): Scores {
  const [images, tokens] = conditional.shape;
  const { alpha } = parameters;
  let x = sub(mul(conditional, affine(alpha, -1, 2)), mul(unconditional, alpha));
  if (noise) x = add(x, mul(noise.values, affine(deviations(x, scales), noise.scale)));
  const tokenScores = network(parameters, x.reshape(images * tokens, 1)).reshape(images, tokens);
  const scaleMeans = matmul(tokenScores, scales.average);
  const scores = matmul(scaleMeans, parameters.w.reshape(scales.lengths.length, 1)).reshape(images);
  return { tokenScores, scaleMeans, scores };
}

/** The network: weighted differences of log-probabilities x[rows, 1] -> token scores [rows, 1]. */
export function network(parameters: ParameterTensors, x: Tensor): Tensor {
  const layer = (x: Tensor, i: 0 | 2 | 4) => linear(x, parameters[`net.${i}.weight`], parameters[`net.${i}.bias`]);
  return layer(elu(layer(elu(layer(x, 0)), 2)), 4);
}

/** Added to variances before the square root, whose derivative at 0 is infinite. */
const tiny = 1e-20;

/**
 * Unbiased standard deviation of x[images, tokens] over all images and the tokens of a scale, for every token: [1,
 * tokens].
 */
function deviations(x: Tensor, { lengths, average, member }: Scales): Tensor {
  const [images, tokens] = x.shape;
  const center = matmul(mean(matmul(x, average), 0).reshape(1, lengths.length), member);
  const squares = sum(square(sub(x, center)), 0).reshape(1, tokens);
  const factors = fromArray(x.device, lengths.map((length) => length / (images * length - 1)), [1, lengths.length]);
  const variances = mul(matmul(squares, average), factors);
  return matmul(sqrt(affine(variances, 1, tiny)), member);
}

/** Runs `body` in a scope and returns the values of one tensor. */
export async function valuesOf(body: () => Tensor): Promise<Float32Array<ArrayBuffer>> {
  const tensor = scope(body);
  try {
    return await tensor.data();
  } finally {
    tensor.dispose();
  }
}
