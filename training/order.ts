/**
 * Which images are held out, and in which order an epoch goes through the others: functions of the seed alone, so that a
 * run can go on anywhere without the state of a random number generator. Nothing here knows what an image is.
 */
import { philox } from "../core/tensor/mod.ts";

/** Streams of random numbers for these two uses alone. */
const orderStream = 0x6f726472, splitStream = 0x73706c74; // "ordr", "splt"

/** The numbers 0 to n - 1 in a random order that depends on nothing but its arguments (Fisher-Yates, 32-bit draws). */
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

export interface Split {
  readonly training: readonly number[];
  readonly heldOut: readonly number[];
}

/**
 * Divides the numbers 0 to n - 1; `share` of them, rounded, are held out: none for a share of 0, else at least one.
 * Throws when nothing is left to train on.
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

/** The order in which an epoch goes through the training images. */
export function epochOrder(training: readonly number[], seed: number, epoch: number): number[] {
  return permutation(training.length, seed, orderStream, epoch).map((i) => training[i]);
}

/** `count` of the numbers 0 to n - 1, evenly spaced: a part of a sorted list that has something of all of it. */
export function spread(n: number, count: number): number[] {
  if (count >= n) return Array.from({ length: n }, (_, i) => i);
  return Array.from({ length: count }, (_, i) => Math.floor(i * n / count));
}
