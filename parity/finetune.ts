/** Case 06: gradients of the encoder, and ten steps of each optimiser. */
import {
  Adam,
  type AdamOptions,
  clipGradients,
  constantLr,
  type Device,
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
import { type Encoder, encoderImages, greedyTarget, lossAndGradients, openEncoder } from "./encoder.ts";
import { tokenizerOf } from "./families.ts";
import { take, takeNchw, toNchw } from "./layout.ts";

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

/** The first step with its gradients, then every training run of the case. */
export async function* finetune(parityCase: ParityCase, device: Device): AsyncGenerator<Result> {
  const encoder = await openEncoder(parityCase, device, tokenizerOf(parityCase));
  const x = encoderImages(encoder, device, [0, 1]), others = encoderImages(encoder, device, [2, 3]);
  const target = greedyTarget(encoder, others);
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
  encoder.tokenizer.dispose();
  for (const name of Object.keys(parityCase.manifest.runs)) yield* trainingRun(parityCase, device, name, x, target);
  disposeAll([x, others, target]);
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
  const encoder = await openEncoder(parityCase, device, tokenizerOf(parityCase));
  const names = encoder.specs.flatMap(partNames);
  const options: AdamOptions = {
    ...config.betas && { betas: config.betas },
    weightDecay: config.weight_decay ?? 0,
    decoupled: config.optimizer === "adamw",
  };
  const optimiser = new Adam(new Map(names.map((name) => [name, encoder.tokenizer.weights.get(name)])), options);
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
  const last = scope(() => mean(square(sub(encoder.tokenizer.encode(x), target))));
  losses.push(await last.item());
  last.dispose();
  yield { tensor: `${run}_losses`, values: losses };
  if (norms.length > 0) yield { tensor: `${run}_grad_norms`, values: norms };
  yield* finalWeights(parityCase, encoder, run);
  optimiser.dispose();
  encoder.tokenizer.dispose();
}

async function* finalWeights(parityCase: ParityCase, encoder: Encoder, run: string): AsyncGenerator<Result> {
  const parts = new Map<string, Float32Array>();
  for (const name of encoder.specs.flatMap(partNames)) {
    parts.set(name, await encoder.tokenizer.weights.get(name).data());
  }
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
