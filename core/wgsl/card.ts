/**
 * What is assumed of a card by its name: WebGPU says neither how many multiprocessors a card has nor how fast they are.
 * It decides how products are cut into blocks (schedule.ts), never what they give.
 */

/** A card's arithmetic and memory. */
export interface Card {
  /** Streaming multiprocessors (NVIDIA), compute units (AMD), or what comes closest. */
  readonly multiprocessors: number;
  /** Peak of float32 arithmetic outside of tensor cores, FLOP per second. */
  readonly flopsPerSecond: number;
  /** Bandwidth of its memory, bytes per second. */
  readonly bytesPerSecond: number;
}

/** Makers' data sheets: multiprocessors, TFLOP/s, TB/s. The first row that fits counts. */
const rows: readonly (readonly [name: RegExp, multiprocessors: number, teraflops: number, terabytes: number])[] = [
  [/\bB[23]00\b/, 148, 75, 8],
  [/\bH200\b|GH200/, 132, 67, 4.8],
  [/\bH100 PCIe/, 114, 51, 2],
  [/\bH[18]00\b/, 132, 67, 3.35],
  [/\bH20\b/, 78, 40, 4],
  [/\bA[18]00\b/, 108, 19.5, 2],
  [/\bL40S?\b/, 142, 91, 0.86],
  [/\bL4\b/, 58, 30, 0.3],
  [/\bA40\b|\bA6000\b/, 84, 38, 0.7],
  [/\bA10G?\b/, 72, 31, 0.6],
  [/\bT4\b/, 40, 8.1, 0.32],
  [/\bV100/, 80, 15.7, 0.9],
  [/\b5090\b/, 170, 105, 1.8],
  [/\b4090\b/, 128, 83, 1],
  [/\b3090\b/, 82, 36, 0.94],
  [/MI3\d\d/, 304, 163, 5.3],
  [/MI2\d\d/, 104, 24, 1.6],
];

/** A middling card: for names that no row fits. */
const usual: Card = { multiprocessors: 64, flopsPerSecond: 25e12, bytesPerSecond: 0.6e12 };

/** The card's row of the table; undefined for names that no row fits. */
export function knownCard(name: string): Card | undefined {
  const row = rows.find(([pattern]) => pattern.test(name));
  if (!row) return undefined;
  const [, multiprocessors, teraflops, terabytes] = row;
  return { multiprocessors, flopsPerSecond: teraflops * 1e12, bytesPerSecond: terabytes * 1e12 };
}

/** What is assumed of the card of this name. */
export function cardOf(name: string): Card {
  return knownCard(name) ?? usual;
}
