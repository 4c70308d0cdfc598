/** Case 06: gradients of the encoder, and ten steps of each optimiser. */
import {
  Adam,
  type AdamOptions,
  clipGradients,
  constantLr,
  type Device,
  differentiate,
  disposeAll,
  gradientNorm,
  mean,
  type Schedule,
  scope,
  square,
  stepLr,
  sub,
  type Tensor,
} from "../core/tensor/mod.ts";
import { joinParts, partNames } from "../models/weights.ts";
import type { ParityCase } from "./case.ts";
import type { Result } from "./compute.ts";
import type { Encoder } from "./encoder.ts";
import { fromNchw, scalePixels, take, takeNchw, testImage, toNchw } from "./layout.ts";
import { openRarEncoder } from "./rar/encoder.ts";
import { openVarEncoder } from "./var/encoder.ts";

/** The encoder of the case's configuration, which is VAR's where it has VAR's fields. */
async function openEncoder(parityCase: ParityCase, device: Device): Promise<Encoder> {
  const tokenizer = parityCase.manifest.config.tokenizer ?? parityCase.manifest.config.vae;
  const open = tokenizer.ch_mult === undefined ? openRarEncoder : openVarEncoder;
  return await open(parityCase, device, tokenizer);
}

/** Test images `indices` as a batch for the encoder. */
function images(encoder: Encoder, device: Device, indices: readonly number[]): Tensor {
  const { size, range } = encoder;
  const pixels = indices.flatMap((k) => Array.from(testImage(k, size, size)));
  return fromNchw(device, scalePixels(pixels, range), [indices.length, 3, size, size]);
}

interface Step {
  readonly loss: number;
  readonly prediction: Tensor;
  readonly gradients: Map<string, Tensor | null>;
}

async function lossAndGradients(encoder: Encoder, x: Tensor, target: Tensor): Promise<Step> {
  const names = encoder.specs.flatMap(partNames);
  const { result, gradients } = differentiate(names.map((name) => encoder.weights.get(name)), () => {
    const prediction = encoder.encode(x);
    return { prediction, loss: mean(square(sub(prediction, target))) };
  });
  const loss = await result.loss.item();
  result.loss.dispose();
  return { loss, prediction: result.prediction, gradients: new Map(names.map((name, i) => [name, gradients[i]])) };
}

/** Entries that are zero in exact arithmetic are compared with nothing: they take the reference's values. */
function withoutZeroEntries(
  parityCase: ParityCase,
  name: string,
  values: Float32Array,
  reference: ArrayLike<number>,
): Float32Array {
  const { analytically_zero_gradients: whole = [], partially_zero_gradients: partial = [] } = parityCase.manifest;
  const part = partial.find((entry: { name: string }) => entry.name === name);
  const [first, last] = whole.includes(name) ? [0, values.length - 1] : part ? [part.first, part.last] : [0, -1];
  for (let i = first; i <= last; i++) values[i] = reference[i];
  return values;
}

export async function* finetune(parityCase: ParityCase, device: Device): AsyncGenerator<Result> {
  const encoder = await openEncoder(parityCase, device);
  const x = images(encoder, device, [0, 1]), others = images(encoder, device, [2, 3]);
  const target = encoder.target(others);
  yield { tensor: "target", values: await toNchw(target) };
  const step = await lossAndGradients(encoder, x, target);
  yield { tensor: "pred", values: await takeNchw(step.prediction) };
  yield { tensor: "loss", values: [step.loss] };
  yield { tensor: "grad_norm", values: await take(gradientNorm(step.gradients.values())) };
  const parts = new Map<string, Float32Array>();
  for (const [name, gradient] of step.gradients) parts.set(name, await gradient!.data());
  for (const spec of encoder.specs) {
    const tensor = `grad:${spec.name}`;
    if (!parityCase.has(tensor)) continue;
    const values = joinParts(spec, (name) => parts.get(name)!);
    yield { tensor, values: withoutZeroEntries(parityCase, spec.name, values, await parityCase.floats(tensor)) };
  }
  disposeAll(step.gradients);
  encoder.dispose();
  for (const name of Object.keys(parityCase.manifest.runs)) yield* trainingRun(parityCase, device, name, x, target);
  disposeAll([x, others, target]);
}

/** The losses before each of the first steps of Adam at full size, on one image and its own greedy fHat. */
export async function* firstLosses(parityCase: ParityCase, device: Device): AsyncGenerator<Result> {
  const tensor = "finetune_losses";
  if (!parityCase.has(tensor)) return;
  const lr = Number(parityCase.info(tensor).meaning.match(/lr ([\d.e+-]+)/)?.[1]);
  if (!(lr > 0)) throw new Error(`${parityCase.name}: the meaning of ${tensor} states no learning rate`);
  const encoder = await openEncoder(parityCase, device);
  const x = images(encoder, device, [parityCase.manifest.config.image_index]);
  const target = encoder.target(x);
  const names = encoder.specs.flatMap(partNames);
  const optimiser = new Adam(new Map(names.map((name) => [name, encoder.weights.get(name)])));
  const losses: number[] = [];
  const steps = parityCase.info(tensor).shape[0];
  for (let i = 0; i < steps; i++) {
    const step = await lossAndGradients(encoder, x, target);
    losses.push(step.loss);
    if (i + 1 < steps) optimiser.update(step.gradients, lr);
    disposeAll([step.prediction, step.gradients]);
  }
  yield { tensor, values: losses };
  for (const item of [x, target, optimiser, encoder]) item.dispose();
}

/** Ten steps of one optimiser from the untrained weights. */
async function* trainingRun(
  parityCase: ParityCase,
  device: Device,
  run: string,
  x: Tensor,
  target: Tensor,
): AsyncGenerator<Result> {
  const { config, lrs } = parityCase.manifest.runs[run];
  const encoder = await openEncoder(parityCase, device);
  const names = encoder.specs.flatMap(partNames);
  const options: AdamOptions = { weightDecay: config.weight_decay ?? 0, decoupled: config.optimizer === "adamw" };
  const optimiser = new Adam(new Map(names.map((name) => [name, encoder.weights.get(name)])), options);
  const schedule: Schedule = config.scheduler
    ? stepLr(config.lr, config.scheduler.step_size, config.scheduler.gamma)
    : constantLr(config.lr);
  const losses: number[] = [], norms: number[] = [];
  for (let i = 0; i < lrs.length; i++) {
    const step = await lossAndGradients(encoder, x, target);
    losses.push(step.loss);
    step.prediction.dispose();
    let gradients = step.gradients;
    if (config.clip) {
      const norm = gradientNorm(gradients.values());
      norms.push(await norm.item());
      gradients = clipGradients(gradients, norm, config.clip);
      norm.dispose();
    }
    optimiser.update(gradients, schedule(i));
    disposeAll(gradients);
  }
  const last = scope(() => mean(square(sub(encoder.encode(x), target))));
  losses.push(await last.item());
  last.dispose();
  yield { tensor: `${run}_losses`, values: losses };
  if (norms.length > 0) yield { tensor: `${run}_grad_norms`, values: norms };
  yield* finalWeights(parityCase, encoder, run);
  optimiser.dispose();
  encoder.dispose();
}

async function* finalWeights(parityCase: ParityCase, encoder: Encoder, run: string): AsyncGenerator<Result> {
  const parts = new Map<string, Float32Array>();
  for (const name of encoder.specs.flatMap(partNames)) parts.set(name, await encoder.weights.get(name).data());
  const bySpec = new Map(encoder.specs.map((spec) => [spec.name, joinParts(spec, (name) => parts.get(name)!)]));
  for (const [name, values] of bySpec) {
    const tensor = `${run}_final:${name}`;
    if (!parityCase.has(tensor)) continue;
    yield { tensor, values: withoutZeroEntries(parityCase, name, values.slice(), await parityCase.floats(tensor)) };
  }
  const reference = await parityCase.floats(`${run}_checksum`);
  const { analytically_zero_gradients: whole = [], partially_zero_gradients: partial = [] } = parityCase.manifest;
  const drifting = new Set<string>([...whole, ...partial.map((entry: { name: string }) => entry.name)]);
  const sums = (parityCase.manifest.param_names as string[]).flatMap((name, i) => {
    if (drifting.has(name)) return [reference[2 * i], reference[2 * i + 1]];
    let sum = 0, magnitude = 0;
    for (const value of bySpec.get(name)!) {
      sum += value;
      magnitude += Math.abs(value);
    }
    return [sum, magnitude];
  });
  yield { tensor: `${run}_checksum`, values: sums };
}
