/** Random numbers of tests. */

/** Numbers from 0 to 1, the same ones for a seed every time (a linear congruential generator). */
export function generator(seed: number): () => number {
  return () => (seed = (seed * 1664525 + 1013904223) % 2 ** 32) / 2 ** 32;
}
