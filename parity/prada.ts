/**
 * Case 07: scores and ICAS with the released PRADA score functions, which lie in `prada_weights/` beside the case (they
 * have no licence and are not part of this project), and fits from given parameters.
 */
import { icas, meanDifference, meanIcas } from "../attribution/likelihood/membership/icas.ts";
import { loadReleasedPrada } from "../attribution/likelihood/prada/file.ts";
import { fitTargets } from "../attribution/likelihood/prada/fit.ts";
import {
  type ParameterName,
  parameterNames,
  type Parameters,
  type ScoreFunction,
  scoreFunction,
  type TokenPairs,
} from "../attribution/likelihood/prada/score_function.ts";
import { type ImageScore, PradaScorer } from "../attribution/likelihood/prada/scorer.ts";
import type { Device } from "../core/tensor/mod.ts";
import type { ParityCase } from "./case.ts";
import { inputs, type Result } from "./compute.ts";

/** Pairs of every image of a tensor [images, tokens, 2]. */
async function pairsOf(parityCase: ParityCase, tensor: string): Promise<TokenPairs[]> {
  const [images, tokens] = parityCase.info(tensor).shape;
  const values = await parityCase.floats(tensor);
  const column = (image: number, c: number) =>
    Float32Array.from({ length: tokens }, (_, t) => values[(image * tokens + t) * 2 + c]);
  return Array.from({ length: images }, (_, i) => ({ conditional: column(i, 0), unconditional: column(i, 1) }));
}

async function scoresOf(device: Device, scoreOf: ScoreFunction, images: readonly TokenPairs[]): Promise<ImageScore[]> {
  const scorer = new PradaScorer(device, scoreOf);
  try {
    return await Array.fromAsync(scorer.scores(images));
  } finally {
    scorer.dispose();
  }
}

const joined = (parts: readonly ArrayLike<number>[]) => parts.flatMap((part) => Array.from(part));

/**
 * The released score function of a model in both formats, which must agree; null when there is none beside the case, in
 * which case its scores count as missing.
 */
async function releasedWeights(
  parityCase: ParityCase,
  model: string,
  scaleLengths: readonly number[] | null,
): Promise<ScoreFunction | null> {
  const base = `${parityCase.folder}/prada_weights/${model}/final`;
  const released: ScoreFunction[] = [];
  for (const path of [`${base}.pt`, `${base}.safetensors`]) {
    if (await Deno.stat(path).then((info) => info.isFile, () => false)) {
      released.push(await loadReleasedPrada(path, scaleLengths));
    }
  }
  for (const name of parameterNames) {
    if (released.length === 2 && released[0].parameters[name].some((x, i) => x !== released[1].parameters[name][i])) {
      throw new Error(`parity: ${name} of ${model} differs between final.pt and final.safetensors`);
    }
  }
  return released[0] ?? null;
}

/** Scores of the released functions, then the fits. */
export async function* prada(parityCase: ParityCase, device: Device): AsyncGenerator<Result> {
  const { config, state_dicts: models, fits } = parityCase.manifest;
  for (const [model, shapes] of Object.entries(models as Record<string, Record<string, number[]>>)) {
    yield* inputs(parityCase, [`${model}_llh`]);
    const images = await pairsOf(parityCase, `${model}_llh`);
    const pairs = images.map(({ conditional, unconditional }) => [conditional, unconditional] as const);
    yield { tensor: `${model}_icas`, values: joined(pairs.map(([c, u]) => icas(c, u))) };
    yield { tensor: `${model}_icas_mean`, values: pairs.map(([c, u]) => meanIcas(c, u)) };
    yield { tensor: `${model}_diff_mean`, values: pairs.map(([c, u]) => meanDifference(c, u)) };
    const released = await releasedWeights(parityCase, model, shapes.w[0] > 1 ? config.scale_lengths_var : null);
    if (released === null) continue;
    const scores = await scoresOf(device, released, images);
    yield { tensor: `${model}_scores`, values: scores.map(({ score }) => score) };
    yield { tensor: `${model}_token_scores`, values: joined(scores.map(({ tokenScores }) => tokenScores)) };
    yield { tensor: `${model}_stage_means`, values: joined(scores.map(({ scaleMeans }) => scaleMeans)) };
  }
  for (const [fit, given] of Object.entries(fits as Record<string, Record<string, unknown>>)) {
    const names = (state: string) => parameterNames.map((name) => `${fit}_${state}:${name}`);
    yield* inputs(parityCase, [...names("init"), `${fit}_x`, `${fit}_y`]);
    const scaleLengths = given.scale_lengths as number[] | null;
    const start = {} as Record<ParameterName, Float32Array<ArrayBuffer>>;
    for (const name of parameterNames) start[name] = await parityCase.floats(`${fit}_init:${name}`);
    const images = await pairsOf(parityCase, `${fit}_x`);
    const result = await fitTargets(device, images, await parityCase.floats(`${fit}_y`), {
      init: scoreFunction(start as Parameters, scaleLengths, `${parityCase.name} ${fit}`),
      lr: given.lr as number,
      weightDecay: given.weight_decay as number,
      epochs: given.epochs as number,
      noise: given.training_noise as number,
    });
    yield { tensor: `${fit}_losses`, values: result.losses };
    yield { tensor: `${fit}_aurocs`, values: result.aurocs };
    yield { tensor: `${fit}_alphas`, values: result.alphas };
    for (const name of parameterNames) {
      yield { tensor: `${fit}_final:${name}`, values: result.scoreFunction.parameters[name] };
    }
    const scores = await scoresOf(device, result.scoreFunction, images);
    yield { tensor: `${fit}_scores`, values: scores.map(({ score }) => score) };
  }
}
