/** An encoder under training, for the case of fine-tuning and for the full-size cases. */
import {
  Adam,
  type Device,
  differentiate,
  disposeAll,
  mean,
  scope,
  square,
  sub,
  type Tensor,
} from "../core/tensor/mod.ts";
import { syntheticSource } from "../models/checkpoint/mod.ts";
import type { Family, ImageTokenizer } from "../models/family.ts";
import { partNames, type WeightSpec } from "../models/weights.ts";
import type { ParityCase } from "./case.ts";
import type { Result } from "./compute.ts";
import { fromNchw, scalePixels, testImage } from "./layout.ts";

/** A tokenizer by its family and its configuration. */
export interface TokenizerChoice {
  readonly family: Family;
  readonly config: unknown;
}

/** A tokenizer whose encoder is trained in place. */
export interface Encoder {
  readonly tokenizer: ImageTokenizer;
  /** The encoder's parameters. */
  readonly specs: readonly WeightSpec[];
}

/** Opens a tokenizer with the case's synthetic weights, those of its encoder dense. Dispose its tokenizer. */
export async function openEncoder(
  { salt }: ParityCase,
  device: Device,
  { family, config }: TokenizerChoice,
): Promise<Encoder> {
  const specs = family.tokenizerSpecs(config);
  const isTrained = (name: string) => family.encoderModules.some((prefix) => name.startsWith(prefix));
  const dense = (name: string) => isTrained(name) || (family.passedModules ?? []).some((p) => name.startsWith(p));
  const tokenizer = await family.loadTokenizer(device, syntheticSource(salt, specs), config, { dense });
  return { tokenizer, specs: specs.filter(({ name }) => isTrained(name)) };
}

/** The greedy fHat of images under the present weights. */
export function greedyTarget({ tokenizer }: Encoder, images: Tensor): Tensor {
  return scope(() => tokenizer.quantize(tokenizer.encode(images)).fHat);
}

/** Test images `indices` as a batch for the encoder. */
export function encoderImages(encoder: Encoder, device: Device, indices: readonly number[]): Tensor {
  const { imageSize: size, valueRange } = encoder.tokenizer;
  const pixels = indices.flatMap((k) => Array.from(testImage(k, size, size)));
  return fromNchw(device, scalePixels(pixels, valueRange), [indices.length, 3, size, size]);
}

/** A step of fine-tuning, before the update. */
export interface FinetuneStep {
  readonly loss: number;
  readonly prediction: Tensor;
  readonly gradients: Map<string, Tensor | null>;
}

/** Mean squared error between the encoder's f and a target, and the gradient of every parameter. */
export async function lossAndGradients(encoder: Encoder, x: Tensor, target: Tensor): Promise<FinetuneStep> {
  const names = encoder.specs.flatMap(partNames);
  const { result, gradients } = differentiate(names.map((name) => encoder.tokenizer.weights.get(name)), () => {
    const prediction = encoder.tokenizer.encode(x);
    return { prediction, loss: mean(square(sub(prediction, target))) };
  });
  const loss = await result.loss.item();
  result.loss.dispose();
  return { loss, prediction: result.prediction, gradients: new Map(names.map((name, i) => [name, gradients[i]])) };
}

/** The losses before each of the first steps of Adam at full size, on one image and its own greedy fHat. */
export async function* firstLosses(
  parityCase: ParityCase,
  device: Device,
  choice: TokenizerChoice,
): AsyncGenerator<Result> {
  const tensor = "finetune_losses";
  if (!parityCase.has(tensor)) return;
  const lr = Number(parityCase.info(tensor).meaning.match(/lr ([\d.e+-]+)/)?.[1]);
  if (!(lr > 0)) throw new Error(`${parityCase.name}: the meaning of ${tensor} states no learning rate`);
  const encoder = await openEncoder(parityCase, device, choice);
  const x = encoderImages(encoder, device, [parityCase.manifest.config.image_index]);
  const target = greedyTarget(encoder, x);
  const names = encoder.specs.flatMap(partNames);
  const betas = parityCase.info(tensor).meaning.match(/betas ([\d.]+), ([\d.]+)/)?.slice(1).map(Number);
  const parameters = new Map(names.map((name) => [name, encoder.tokenizer.weights.get(name)]));
  const optimiser = new Adam(parameters, betas === undefined ? {} : { betas: [betas[0], betas[1]] });
  const losses: number[] = [];
  const steps = parityCase.info(tensor).shape[0];
  for (let i = 0; i < steps; i++) {
    const step = await lossAndGradients(encoder, x, target);
    losses.push(step.loss);
    if (i + 1 < steps) optimiser.update(step.gradients, lr);
    disposeAll([step.prediction, step.gradients]);
  }
  yield { tensor, values: losses };
  for (const item of [x, target, optimiser, encoder.tokenizer]) item.dispose();
}
