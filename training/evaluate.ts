/**
 * Evaluates an encoder on held-out images: its loss, the share of tokens that it recovers, and how well its QuantLoss
 * separates the family's images from another family's.
 */
import { disposeAll, scope } from "../core/tensor/mod.ts";
import { meanSquaredError, quantLoss } from "../attribution/signals/reconstruction.ts";
import type { Pair, PairSource } from "./pairs.ts";
import type { Trainee } from "./trainee.ts";

/** Smallest number of images of another family to compare with; with more held-out images, as many as those. */
export const leastOthers = 32;

/** The evaluation of an encoder. */
export interface HeldOut {
  /** mean (D^-1(x) - f_Z)^2. */
  readonly loss: number;
  /** Share of the tokens of f_Z that quantising D^-1(x) recovers, 0 to 1. */
  readonly recovery: number;
  /** Probability that an image of the family has a lower QuantLoss than one of the other; null without others. */
  readonly auc: number | null;
}

/** Options of `evaluate`. */
export interface EvaluateOptions {
  /** Indices of the held-out pairs. */
  readonly heldOut: readonly number[];
  /** The tokens of f_Z of a pair. */
  readonly tokens: (pair: Pair, index: number) => Int32Array;
  readonly batch: number;
  /** Images of another family. */
  readonly others: PairSource | null;
  /** Indices of the images to use of `others`. */
  readonly otherIndices: readonly number[];
  readonly signal?: AbortSignal;
}

/** Evaluates on the held-out images. Returns null without any, or when interrupted. */
export async function evaluate(
  trainee: Trainee,
  pairs: PairSource,
  options: EvaluateOptions,
): Promise<HeldOut | null> {
  const { heldOut, batch, signal } = options;
  if (heldOut.length === 0) return null;
  let loss = 0, recovered = 0;
  const members: number[] = [], others: number[] = [];
  for (const indices of batches(heldOut, batch)) {
    await breathe();
    if (signal?.aborted) return null;
    const batchPairs = await pairs.batch(indices);
    const wanted = batchPairs.map((pair, b) => options.tokens(pair, indices[b]));
    const measured = scope(() => {
      const f = trainee.tokenizer.encode(trainee.images(batchPairs.map((pair) => pair.pixels)));
      const { tokens, fHat } = trainee.tokenizer.quantize(f);
      return { tokens, error: meanSquaredError(f, trainee.targets(wanted)), quant: quantLoss(f, fHat) };
    });
    for (const error of await measured.error.data()) loss += error;
    members.push(...await measured.quant.data());
    const got = await measured.tokens.ints();
    const { tokenCount } = trainee.tokenizer;
    wanted.forEach((tokens, b) => tokens.forEach((token, i) => recovered += token === got[b * tokenCount + i] ? 1 : 0));
    disposeAll(measured);
  }
  for (const indices of options.others === null ? [] : batches(options.otherIndices, batch)) {
    await breathe();
    if (signal?.aborted) return null;
    const pixels = (await options.others!.batch(indices)).map((pair) => pair.pixels);
    const measured = scope(() => {
      const f = trainee.tokenizer.encode(trainee.images(pixels));
      return quantLoss(f, trainee.tokenizer.quantize(f).fHat);
    });
    others.push(...await measured.data());
    measured.dispose();
  }
  return {
    loss: loss / heldOut.length,
    recovery: recovered / (heldOut.length * trainee.tokenizer.tokenCount),
    auc: others.length === 0 ? null : areaUnderCurve(members, others),
  };
}

/** Tokens of all pairs, [count * tokenCount]; unknown ones by the current encoder. Returns null when interrupted. */
export async function quantizeAll(
  trainee: Trainee,
  pairs: PairSource,
  batch: number,
  signal?: AbortSignal,
): Promise<Int32Array<ArrayBuffer> | null> {
  const { tokenCount } = trainee.tokenizer;
  const all = new Int32Array(pairs.count * tokenCount);
  for (const indices of batches(Array.from({ length: pairs.count }, (_, i) => i), batch)) {
    await breathe();
    if (signal?.aborted) return null;
    const batchPairs = await pairs.batch(indices);
    const tokens = scope(() => {
      const { tokenizer } = trainee;
      return tokenizer.quantize(tokenizer.encode(trainee.images(batchPairs.map((pair) => pair.pixels)))).tokens;
    });
    all.set(await tokens.ints(), indices[0] * tokenCount);
    tokens.dispose();
    batchPairs.forEach((pair, b) => pair.tokens && all.set(pair.tokens, (indices[0] + b) * tokenCount));
  }
  return all;
}

/** The area under the ROC curve: the probability that a member's value is below a nonmember's; ties count half. */
export function areaUnderCurve(members: readonly number[], others: readonly number[]): number {
  const sorted = Float64Array.from(others).sort();
  const below = (value: number, orEqual: boolean) => {
    let low = 0, high = sorted.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (sorted[middle] < value || (orEqual && sorted[middle] === value)) low = middle + 1;
      else high = middle;
    }
    return low;
  };
  let wins = 0;
  for (const value of members) wins += sorted.length - (below(value, false) + below(value, true)) / 2;
  return wins / (members.length * sorted.length);
}

/** Waits for the next turn of the event loop, for timers and signals. On the CPU device, steps alone never reach it. */
export function breathe(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}

/** Yields the indices in batches. */
export function* batches(indices: readonly number[], size: number): Generator<number[]> {
  for (let at = 0; at < indices.length; at += size) yield indices.slice(at, at + size);
}
