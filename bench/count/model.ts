/**
 * A model of how dispatches fill a card: how many workgroups a multiprocessor holds, in how many waves they run, and what a
 * wave takes. Its card is data (bench/stub/cards.ts); docs/cards.md explains the model and says what it leaves out.
 */
import type { Card } from "../stub/cards.ts";

/** A dispatch as the model sees it. */
export interface Launch {
  readonly groups: number;
  /** Threads of a workgroup, and what it holds: bytes of workgroup memory, registers of a thread. */
  readonly threads: number;
  readonly sharedBytes: number;
  readonly registers: number;
  /** Operations that all its threads carry out, padding included. */
  readonly tileFlop: number;
  /** Share of the peak that its inner loop reaches on a full multiprocessor; see `tileRate`. */
  readonly rate: number;
  /** Operands and results, each once. */
  readonly bytes: number;
  /** Bytes of the loads that a thread waits for at once. */
  readonly loadBytes: number;
}

/** What every recent card of NVIDIA's has per multiprocessor. */
const perMultiprocessor = { threads: 2048, groups: 32, registers: 65536, sharedBytes: 227 * 1024 };
/** Workgroup memory that a workgroup takes beside its own. */
const reservedShared = 1024;
const warp = 32;
/** Warps with which a multiprocessor hides the latency of arithmetic and of workgroup memory in a loop with barriers. */
const fullWarps = 16;
/** What one warp after another adds beside the first: a multiprocessor with few warps still reaches this share. */
const fewWarps = 0.3;
/** Seconds from a load to its value. */
const latency = 600e-9;
/** A multiprocessor draws at most so many times its share of the card's bandwidth. */
const mostShares = 3;

/** Results of a thread per value read from workgroup memory set the pace of a product: 1 for 8 x 8, 0.6 for 4 x 4. */
export function tileRate(rows: number, columns: number): number {
  const reuse = rows * columns / (rows + columns);
  return Math.min(1, 3 * reuse / (reuse + 8));
}

/** Workgroups that a multiprocessor holds at once; at least one. */
export function residentGroups({ threads, sharedBytes, registers }: Launch): number {
  const warps = Math.ceil(threads / warp);
  const { groups, ...most } = perMultiprocessor;
  return Math.max(
    1,
    Math.min(
      groups,
      Math.floor(most.threads / (warps * warp)),
      Math.floor(most.sharedBytes / (sharedBytes + reservedShared)),
      Math.floor(most.registers / (registers * warps * warp)),
    ),
  );
}

/** Seconds of `groups` workgroups that run at once, `each` on every multiprocessor that has any. */
function waveSeconds(card: Card, launch: Launch, groups: number, each: number): number {
  const share = groups / launch.groups;
  const busy = Math.min(card.multiprocessors, groups);
  const warps = each * Math.ceil(launch.threads / warp);
  const lanes = launch.threads / (Math.ceil(launch.threads / warp) * warp);
  const filled = fewWarps + (1 - fewWarps) * Math.min(1, warps / fullWarps);
  const onePeak = card.flopsPerSecond / card.multiprocessors * launch.rate * filled * lanes;
  const compute = each * launch.tileFlop / launch.groups / onePeak;
  const inFlight = groups * launch.threads * launch.loadBytes / (card.bytesPerSecond * latency);
  const bandwidth = card.bytesPerSecond * Math.min(1, inFlight, mostShares * busy / card.multiprocessors);
  return Math.max(compute, share * launch.bytes / bandwidth);
}

/** Seconds of a dispatch by the model: full waves, then the rest spread over the multiprocessors. */
export function launchSeconds(card: Card, launch: Launch): number {
  if (launch.groups === 0) return 0;
  const resident = residentGroups(launch);
  const slots = resident * card.multiprocessors;
  const waves = Math.floor(launch.groups / slots);
  const rest = launch.groups - waves * slots;
  const whole = waves === 0 ? 0 : waves * waveSeconds(card, launch, slots, resident);
  const last = rest === 0 ? 0 : waveSeconds(card, launch, rest, Math.ceil(rest / card.multiprocessors));
  return Math.max(latency, whole + last);
}

/**
 * Seconds that the work itself needs at the card's peaks, whichever of arithmetic and memory takes longer; no kernel takes less than
 * a load.
 */
export function idealSeconds(card: Card, flop: number, bytes: number): number {
  return Math.max(flop / card.flopsPerSecond, bytes / card.bytesPerSecond, latency);
}
