/**
 * The held-out images, and the order of training images in an epoch. Both are functions of the seed, so that a run can
 * resume anywhere without the state of a random number generator.
 */
import { philox } from "../core/tensor/mod.ts";

/** Keys of the two streams of random numbers. */
const orderStream = 0x6f726472, splitStream = 0x73706c74; // "ordr", "splt"

/** A random permutation of 0 to n - 1, a function of its arguments (Fisher-Yates, 32-bit draws). */
export function permutation(n: number, seed: number, stream: number, round = 0): number[] {
  const order = Array.from({ length: n }, (_, i) => i);
  const words = new Uint32Array(4);
  for (let i = n - 1; i > 0; i--) {
    philox(seed, stream, (round % 2 ** 21) * 2 ** 32 + i, words);
    const j = Math.floor(words[0] / 2 ** 32 * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}

/** Indices of training images and held-out images, both ascending. */
export interface Split {
  readonly training: readonly number[];
  readonly heldOut: readonly number[];
}

/**
 * Splits 0 to n - 1. The share `share` of them, rounded, is held out: none for a share of 0, else at least one. Throws
 * when none is left to train on.
 */
export function split(n: number, share: number, seed: number): Split {
  const heldOut = share === 0 ? 0 : Math.max(1, Math.round(n * share));
  if (heldOut >= n) {
    throw new Error(`--holdout ${share}: leaves none of ${n} images to train on; hold out less, or give more images`);
  }
  const order = permutation(n, seed, splitStream);
  const ascending = (part: number[]) => part.sort((a, b) => a - b);
  return { heldOut: ascending(order.slice(0, heldOut)), training: ascending(order.slice(heldOut)) };
}

/** The training images in the order of an epoch. */
export function epochOrder(training: readonly number[], seed: number, epoch: number): number[] {
  return permutation(training.length, seed, orderStream, epoch).map((i) => training[i]);
}

/** `count` of the numbers 0 to n - 1, evenly spaced. */
export function spread(n: number, count: number): number[] {
  if (count >= n) return Array.from({ length: n }, (_, i) => i);
  return Array.from({ length: count }, (_, i) => Math.floor(i * n / count));
}
