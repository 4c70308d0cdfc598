/**
 * What the training of all families' transformers shares: random numbers by step, dropped labels, cross-entropy.
 * Optimisers, data and learning rates are not here; the losses themselves are the families' (family_training.ts).
 */
import { affine, fromArray, logSoftmaxGather, mean, philox, scope, type Tensor } from "../core/tensor/mod.ts";

/** `n` numbers uniform in [0, 1) (32 bits each) that depend on seed, stream and step alone; n is at most 2^22. */
export function draws(seed: number, stream: number, step: number, n: number): Float64Array<ArrayBuffer> {
  const out = new Float64Array(n);
  const words = new Uint32Array(4);
  for (let i = 0; i < n; i++) {
    if (i % 4 === 0) philox(seed, stream, step * 2 ** 20 + i / 4, words);
    out[i] = words[i % 4] / 2 ** 32;
  }
  return out;
}

const dropStream = 0x64726f70; // "drop"

/** Labels of a step, each replaced by null (no condition) with probability `share`. */
export function dropLabels(labels: readonly number[], share: number, seed: number, step: number): (number | null)[] {
  const u = draws(seed, dropStream, step, labels.length);
  return labels.map((label, i) => u[i] < share ? null : label);
}

/** Mean over rows of -log softmax(logits)[target], in nats: logits[..., codes], one target per row. One element. */
export function crossEntropy(logits: Tensor, targets: Int32Array<ArrayBuffer>): Tensor {
  return scope(() => {
    const index = fromArray(logits.device, targets, logits.shape.slice(0, -1));
    return affine(mean(logSoftmaxGather(logits, index)), -1);
  });
}

/** Labels that occur, ascending with null last, and for every label its place among them. */
export function distinctLabels(labels: readonly (number | null)[]): {
  readonly distinct: readonly (number | null)[];
  readonly places: Int32Array<ArrayBuffer>;
} {
  const rank = (label: number | null) => label ?? Infinity;
  const distinct = [...new Set(labels)].sort((a, b) => rank(a) < rank(b) ? -1 : 1);
  return { distinct, places: Int32Array.from(labels, (label) => distinct.indexOf(label)) };
}
