/**
 * How a product is cut into workgroups on a card: the sizes of blocks, and how many parts of k are summed apart, by a
 * model of time. The model is arithmetic on shapes, so the same product always takes the same path and gives the same
 * sums. docs/cards.md describes it.
 */
import type { Card } from "./card.ts";
import { columnsOf, rowsOf, sharedBytes, slotsOf, threadsOf, type Tile, type TileName, tiles } from "./tiles.ts";

/** A product C[batch, m, n] = A[batch, m, k] B[batch, k, n]. */
export interface ProductSizes {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly batch: number;
  /** Whether columns of the right operand are stored, which takes more workgroup memory. */
  readonly columnsStored?: boolean;
  /** What the depth of blocks must divide: the channels of a convolution whose taps are gone through one by one. */
  readonly channels?: number;
  /** Whether all blocks are stored as sums of parts, even of a single one. */
  readonly allInParts?: boolean;
}

/**
 * Blocks are numbered from the first column on, then by rows, then by the batch. The first `whole` of them are one
 * workgroup each; each of the rest is `parts` workgroups of `partK` steps along k, whose sums are added afterwards.
 */
export interface Schedule {
  readonly tile: TileName;
  readonly blocks: number;
  readonly whole: number;
  readonly parts: number;
  /** A multiple of the tile's depth. */
  readonly partK: number;
  /** Of the product and the sums of parts, by the model. */
  readonly seconds: number;
}

/** What a multiprocessor holds of any recent card of NVIDIA's; others differ by less than the model's error. */
const registersPerMultiprocessor = 65536;
const warp = 32;
/** Registers of a thread beside its sums and what is loaded ahead: operands and addresses. */
const otherRegisters = 40;
/** Warps with which a multiprocessor hides the latency of arithmetic and workgroup memory; and what very few reach. */
const fullWarps = 16;
const fewWarps = 0.3;
/** What a multiprocessor reads of the second-level cache, bytes per second. */
const cacheBytesPerSecond = 45e9;
/** From a load to its value; loads are one block ahead. */
const latencySeconds = 500e-9;
/** Start and end of a dispatch that waits for another. */
const dispatchSeconds = 5e-6;
const mostParts = 32;
/** A part is at least so long, or it would be all beginning and end. */
const leastPartK = 64;

/** Most memory for the sums of parts. */
const maxSumBytes = 2 ** 26;

/** Multiplications below which a product is small. */
const smallProduct = 2 ** 20;

/** Workgroup memory that every adapter has. */
const maxSharedBytes = 16384;

/** Results per number read from workgroup memory set the pace of the inner loop: 1 for 8 x 8 results, 0.6 for 4 x 4. */
export function tileRate({ threadRows, width, vectors }: Tile): number {
  const reuse = threadRows * width * vectors / (threadRows + width * vectors);
  return Math.min(1, 3 * reuse / (reuse + 8));
}

/** Workgroups that a multiprocessor holds at once. */
export function residentGroups(tile: Tile): number {
  const warps = Math.ceil(threadsOf(tile) / warp);
  const [left, right] = slotsOf(tile);
  const registers = otherRegisters + tile.threadRows * tile.width * tile.vectors + 4 * (left + right);
  return Math.max(1, Math.min(32, Math.floor(registersPerMultiprocessor / (registers * warp * warps))));
}

/** Seconds of `groups` workgroups over `k` steps: full waves, then the rest spread over the multiprocessors. */
function groupSeconds(card: Card, tile: Tile, groups: number, k: number): number {
  const resident = residentGroups(tile);
  const warps = Math.ceil(threadsOf(tile) / warp);
  const rows = rowsOf(tile), columns = columnsOf(tile);
  const wave = (each: number) => {
    const filled = fewWarps + (1 - fewWarps) * Math.min(1, each * warps / fullWarps);
    const rate = card.flopsPerSecond / card.multiprocessors * tileRate(tile) * filled;
    const arithmetic = each * 2 * rows * columns * k / rate;
    const loads = each * (rows + columns) * k * 4 / cacheBytesPerSecond;
    // Loads overlap with arithmetic, but for some of the shorter of the two.
    const bound = Math.max(arithmetic, loads) + 0.1 * Math.min(arithmetic, loads);
    return Math.max(bound, k / tile.depth * latencySeconds);
  };
  const slots = resident * card.multiprocessors;
  const waves = Math.floor(groups / slots), rest = groups - waves * slots;
  return waves * wave(resident) + (rest === 0 ? 0 : wave(Math.ceil(rest / card.multiprocessors)));
}

/** Ways to cut a product into blocks of `tile`: whole, in parts, or full waves whole and the others in parts. */
function* cuts(card: Card, tile: Tile, sizes: ProductSizes): Generator<Schedule> {
  const { m, n, k, batch, allInParts = false } = sizes;
  const rows = rowsOf(tile), columns = columnsOf(tile);
  const blocks = Math.ceil(m / rows) * Math.ceil(n / columns) * batch;
  const steps = Math.ceil(k / tile.depth);
  const padded = steps * tile.depth;
  const base = { tile: tile.name, blocks };
  if (!allInParts) {
    yield { ...base, whole: blocks, parts: 1, partK: padded, seconds: groupSeconds(card, tile, blocks, padded) };
  }
  const slots = residentGroups(tile) * card.multiprocessors;
  const fullWaves = Math.floor(blocks / slots) * slots;
  const most = allInParts ? Math.max(1, Math.floor(k / leastPartK)) : Math.min(mostParts, Math.floor(k / leastPartK));
  for (const whole of fullWaves > 0 && fullWaves < blocks && !allInParts ? [fullWaves, 0] : [0]) {
    for (let wanted = allInParts ? 1 : 2; wanted <= most; wanted += Math.max(1, wanted >> 4)) {
      const partK = Math.max(1, Math.ceil(steps / wanted)) * tile.depth;
      const parts = Math.max(1, Math.ceil(padded / partK));
      const split = blocks - whole;
      const sumBytes = split * rows * columns * 4;
      if (parts > 1 && parts * sumBytes > maxSumBytes) break;
      const joining = (2 * parts + 1) * sumBytes / card.bytesPerSecond + dispatchSeconds;
      const seconds = groupSeconds(card, tile, whole, padded) + groupSeconds(card, tile, split * parts, partK);
      yield { ...base, whole, parts, partK, seconds: seconds + joining };
    }
  }
}

/** All schedules that there are for a product. */
export function* schedulesOf(card: Card, sizes: ProductSizes): Generator<Schedule> {
  for (const tile of Object.values(tiles)) {
    if (sharedBytes(tile, sizes.columnsStored) > maxSharedBytes) continue;
    if (sizes.channels !== undefined && sizes.channels % tile.depth !== 0) continue;
    yield* cuts(card, tile, sizes);
  }
}

/**
 * The fastest schedule by the model; of equally fast ones the first in the table of tiles, with the fewest parts. Small
 * products, which take microseconds either way, all take one tile, so that fewer programs are compiled.
 */
export function fastestSchedule(card: Card, sizes: ProductSizes): Schedule {
  const { m, n, k, batch } = sizes;
  // The first cut of a tile is the one without parts.
  if (m * n * k * batch < smallProduct) return cuts(card, tiles["32x64"], sizes).next().value!;
  let best: Schedule | undefined;
  for (const schedule of schedulesOf(card, sizes)) {
    if (!best || schedule.seconds < best.seconds) best = schedule;
  }
  return best!;
}

/** Schedules of one card, each found once. */
export class Scheduler {
  readonly #kept = new Map<string, Schedule>();
  readonly #find: typeof fastestSchedule;

  /** `find`: another choice, for tests. */
  constructor(readonly card: Card, find = fastestSchedule) {
    this.#find = find;
  }

  scheduleOf(sizes: ProductSizes): Schedule {
    const { m, n, k, batch, columnsStored, channels, allInParts } = sizes;
    const key = `${m},${n},${k},${batch},${columnsStored},${channels},${allInParts}`;
    let schedule = this.#kept.get(key);
    if (!schedule) this.#kept.set(key, schedule = this.#find(this.card, sizes));
    return schedule;
  }
}
