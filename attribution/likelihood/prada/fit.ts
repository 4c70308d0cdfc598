/**
 * Fits a PRADA score function to the log-probabilities of images whose origin is known. Every step uses all images, so
 * that a fit is deterministic.
 *
 * Source: jonasricker/prada, src/prada/prada.py (`fit`) and predict.py (label smoothing, numbers of epochs and images).
 */
import {
  abs,
  Adam,
  add,
  affine,
  concat,
  type Device,
  differentiate,
  fromArray,
  keep,
  logSoftmax,
  mul,
  normals,
  scope,
  square,
  sum,
  type Tensor,
  zeros,
} from "../../../core/tensor/mod.ts";
import { auc } from "../../metrics/mod.ts";
import { type Noise, type ParameterTensors, Scales, scoreTokens, uploadParameters } from "./network.ts";
import {
  checkScaleLengths,
  initialScoreFunction,
  type ParameterName,
  parameterNames,
  type ScoreFunction,
  scoreFunction,
  type TokenPairs,
} from "./score_function.ts";
import { checkPairs, pairTensors } from "./scorer.ts";

/** How a score function is fitted. The defaults are the reference's. */
export interface FitOptions {
  /** Tokens per scale. Default null: a model without scales. */
  readonly scaleLengths?: readonly number[] | null;
  /** Units of each hidden layer. Default 16. */
  readonly hidden?: number;
  /** Steps over all images. Default 3000. */
  readonly epochs?: number;
  /** Learning rate of AdamW. Default 1e-3. */
  readonly lr?: number;
  /** Weight decay of AdamW, also of alpha and the scale weights. Default 0.01. */
  readonly weightDecay?: number;
  /** Targets are half of this, and 1 minus half of this. From 0 to below 1, default 0.05. */
  readonly labelSmoothing?: number;
  /** Noise on the network's input, in standard deviations of the inputs of a scale. Default 0.1. */
  readonly noise?: number;
  /** Weight of the penalty (sum |w| - 1)^2 on the scale weights. Default 0.1. */
  readonly l1?: number;
  /** Whether alpha is fitted. If not, it stays 1, or as in `init`. Default true. */
  readonly learnDifference?: boolean;
  /**
   * Whether scale weights are fitted. If not, they stay equal, or as in `init`. A single scale has weight 1. Default
   * true.
   */
  readonly learnScaleWeights?: boolean;
  /** Seed of the initial parameters and of the noise. Default 0. */
  readonly seed?: number;
  /** Where to start instead of at random parameters. Its hidden units and scale lengths are used. */
  readonly init?: ScoreFunction;
  /** Once aborted, the fit throws the signal's reason. */
  readonly signal?: AbortSignal;
  /** Called every few epochs with the number of epochs done and the last loss. */
  readonly onProgress?: (epochs: number, loss: number) => void;
}

/** A fitted score function with the history of the fit. */
export interface Fit {
  /** The fitted function. Its scores are high for images that the model generated. */
  readonly scoreFunction: ScoreFunction;
  /** Loss of every epoch before its step, in nats. */
  readonly losses: Float32Array;
  /** AUROC of every epoch's scores, with noise and before the step. Guessing gives 0.5. */
  readonly aurocs: Float64Array;
  /** alpha after every epoch. */
  readonly alphas: Float32Array;
}

/** Epochs between reads of losses and scores. Reading makes the host wait for the device. */
const epochsPerRead = 50;

/**
 * Fits a score function that is high for images that a model generated and low for other images. Both groups come as
 * the log-probabilities of their tokens under that model. Throws on an empty group, on lengths and values that do not
 * fit, and when the loss is no longer finite. Memory: about 8 floats per hidden unit and token of all images.
 */
export async function fitPrada(
  device: Device,
  generated: readonly TokenPairs[],
  notGenerated: readonly TokenPairs[],
  options: FitOptions = {},
): Promise<Fit> {
  const { labelSmoothing = 0.05 } = options;
  if (!(labelSmoothing >= 0 && labelSmoothing < 1)) {
    throw new RangeError(`fitPrada: labelSmoothing expects 0 to 1, got ${labelSmoothing}`);
  }
  const target = (label: number) => label * (1 - labelSmoothing) + labelSmoothing / 2;
  const targets = [...notGenerated.map(() => target(0)), ...generated.map(() => target(1))];
  return await fitTargets(device, [...notGenerated, ...generated], targets, options);
}

/** As `fitPrada`, with a target for every image, 0 to 1. Images with a target of at least 0.5 count as generated. */
export async function fitTargets(
  device: Device,
  images: readonly TokenPairs[],
  targets: ArrayLike<number>,
  options: FitOptions = {},
): Promise<Fit> {
  const settings = checkSettings(images, targets, options);
  const { start, epochs, lr, weightDecay, noise, l1, seed } = settings;
  const count = images.length, tokens = images[0].conditional.length;
  const scales = new Scales(device, start.scaleLengths, tokens);
  const parameters = uploadParameters(device, start);
  const [conditional, unconditional] = keep(pairTensors(device, images));
  const labels = fromArray(device, Array.from(targets, (y) => [1 - y, y]).flat(), [count, 2]);
  const trained = parameterNames.filter((name) =>
    name === "alpha"
      ? options.learnDifference !== false
      : name === "w"
      ? options.learnScaleWeights !== false && scales.lengths.length > 1
      : true
  );
  const optimizer = new Adam(new Map(trained.map((name) => [name, parameters[name]])), {
    weightDecay,
    decoupled: true,
  });
  const history = new History(targets, epochs);
  const rows: Tensor[] = [];
  try {
    for (let epoch = 0; epoch < epochs; epoch++) {
      const row = scope(() => {
        const drawn: Noise | undefined = noise > 0
          ? { values: fromArray(device, normals(seed, epoch, count * tokens), [count, tokens]), scale: noise }
          : undefined;
        const { result, gradients } = differentiate(trained.map((name) => parameters[name]), () => {
          const { scores } = scoreTokens(parameters, conditional, unconditional, scales, drawn);
          return { scores, loss: lossOf(scores, labels, scales.lengths.length > 1 ? parameters.w : null, l1) };
        });
        optimizer.update(new Map(trained.map((name, i) => [name, gradients[i]])), lr);
        for (const gradient of gradients) gradient?.dispose();
        return keep(concat([result.loss.reshape(1), parameters.alpha, result.scores], 0));
      });
      rows.push(row);
      if (rows.length === epochsPerRead || epoch + 1 === epochs) {
        await history.read(rows.splice(0));
        options.onProgress?.(epoch + 1, history.losses[epoch]);
        options.signal?.throwIfAborted();
      }
    }
    return { scoreFunction: await download(parameters, start.scaleLengths), ...history };
  } finally {
    for (const tensor of [...rows, conditional, unconditional, labels, ...Object.values(parameters)]) tensor.dispose();
    scales.dispose();
    optimizer.dispose();
  }
}

function checkSettings(images: readonly TokenPairs[], targets: ArrayLike<number>, options: FitOptions) {
  const { epochs = 3000, lr = 1e-3, weightDecay = 0.01, noise = 0.1, l1 = 0.1, seed = 0, init } = options;
  if (images.length !== targets.length) {
    throw new RangeError(
      `fitPrada: expected a target per image, got ${images.length} images and ${targets.length} targets`,
    );
  }
  const wrong = Array.from(targets).findIndex((y) => !(y >= 0 && y <= 1));
  if (wrong >= 0) throw new RangeError(`fitPrada: target ${wrong} expects 0 to 1, got ${targets[wrong]}`);
  const generated = Array.from(targets).filter((y) => y >= 0.5).length;
  if (generated === 0 || generated === targets.length) {
    throw new RangeError(
      `fitPrada: expected generated and other images, got ${generated} generated and ${
        targets.length - generated
      } others`,
    );
  }
  images.forEach((image, i) => checkPairs("fitPrada", image, i, images[0].conditional.length));
  if (!(Number.isSafeInteger(epochs) && epochs > 0)) {
    throw new RangeError(`fitPrada: epochs expects 1 or more, got ${epochs}`);
  }
  for (const [name, value] of Object.entries({ lr, weightDecay, noise, l1 })) {
    if (!(value >= 0 && Number.isFinite(value))) {
      throw new RangeError(`fitPrada: ${name} expects 0 or more, got ${value}`);
    }
  }
  if (init === undefined) checkScaleLengths(options.scaleLengths ?? null, "fitPrada");
  const start = init ?? initialScoreFunction(options.scaleLengths ?? null, { hidden: options.hidden, seed });
  // Initial parameters use streams 0 to 7 of the seed, so the noise uses another seed.
  return { start, epochs, lr, weightDecay, noise, l1, seed: (seed ^ 0x5eed) >>> 0 };
}

/**
 * Mean binary cross entropy of scores[images] against labels[images, 2] = [1 - y, y], plus the penalty on scale
 * weights.
 */
function lossOf(scores: Tensor, labels: Tensor, scaleWeights: Tensor | null, l1: number): Tensor {
  const count = scores.size;
  // The log-softmax of [0, score] is [log(1 - sigmoid(score)), log sigmoid(score)], without overflow.
  const logs = logSoftmax(concat([zeros(scores.device, [count, 1]), scores.reshape(count, 1)], 1));
  const entropy = affine(sum(mul(labels, logs)), -1 / count).reshape(1);
  if (scaleWeights === null) return entropy;
  return add(entropy, affine(square(affine(sum(abs(scaleWeights)), 1, -1)), l1).reshape(1));
}

async function download(parameters: ParameterTensors, scaleLengths: readonly number[] | null): Promise<ScoreFunction> {
  const values = {} as Record<ParameterName, Float32Array<ArrayBuffer>>;
  for (const name of parameterNames) values[name] = await parameters[name].data();
  return scoreFunction(values, scaleLengths, "fitPrada");
}

/** Losses, AUROCs and alphas of the epochs. */
class History {
  readonly losses: Float32Array<ArrayBuffer>;
  readonly aurocs: Float64Array<ArrayBuffer>;
  readonly alphas: Float32Array<ArrayBuffer>;
  readonly #isGenerated: readonly boolean[];
  #epochs = 0;

  constructor(targets: ArrayLike<number>, epochs: number) {
    this.losses = new Float32Array(epochs);
    this.aurocs = new Float64Array(epochs);
    this.alphas = new Float32Array(epochs);
    this.#isGenerated = Array.from(targets, (y) => y >= 0.5);
  }

  /** Reads and frees rows of one epoch each: [loss, alpha, scores of all images]. Throws if a loss is not finite. */
  async read(rows: readonly Tensor[]): Promise<void> {
    const width = 2 + this.#isGenerated.length;
    const joined = scope(() => concat(rows, 0));
    for (const row of rows) row.dispose();
    const values = await joined.data();
    joined.dispose();
    for (let at = 0; at < values.length; at += width, this.#epochs++) {
      const epoch = this.#epochs;
      if (!Number.isFinite(values[at])) {
        throw new Error(
          `fitPrada: the loss of epoch ${epoch + 1} is ${values[at]}: try a lower lr, got ${this.#last()}`,
        );
      }
      this.losses[epoch] = values[at];
      this.alphas[epoch] = values[at + 1];
      const groups: [number[], number[]] = [[], []];
      values.subarray(at + 2, at + width).forEach((score, i) =>
        groups[Number(this.#isGenerated[i])].push(1 / (1 + Math.exp(-score)))
      );
      this.aurocs[epoch] = auc(groups[1], groups[0], { membersLower: false });
    }
  }

  #last(): string {
    return this.#epochs > 0 ? `a loss of ${this.losses[this.#epochs - 1]} before it` : "it at once";
  }
}
