/**
 * Chooses block sizes of matrix products for a card by measuring, once per adapter and process, when it is first
 * opened. The choice affects speed only. Software adapters have no choice.
 */
import type { Device } from "../tensor/device.ts";

/** Choices for an adapter. */
export interface Tuning {
  /**
   * Fewest blocks of 128 x 128 results for which that size is taken; fewer blocks are cut into four, for more threads.
   */
  readonly fewestLargeBlocks: number;
}

/** The choice before measuring: about the number of multiprocessors of a larger card. */
export const usualTuning: Tuning = { fewestLargeBlocks: 96 };

/** A device whose choice can be changed. */
export type Tunable = Pick<Device, "info" | "alloc" | "free" | "run" | "sync"> & { tuning: Tuning };

/** Products to measure. */
export interface TuningSizes {
  /** Numbers of large blocks to try, ascending, multiples of `across`. */
  readonly blocks: readonly number[];
  /** How many of them are side by side. */
  readonly across: number;
  readonly k: number;
  /** Length of a sample in milliseconds, at least. */
  readonly sampleMs: number;
  readonly samples: number;
}

/** At most 8.6 GFLOP per product and 36 MB: tenths of a second on a slow card, the compilation of shaders included. */
const sizes: TuningSizes = { blocks: [16, 32, 64, 96, 128, 192, 256], across: 8, k: 1024, sampleMs: 2, samples: 3 };

const kept = new Map<string, Promise<Tuning>>();

/** The choice for this adapter: measured by the first caller, the same promise for all others. */
export function tuningOf(
  device: Tunable,
  measure: (device: Tunable) => Promise<Tuning> = measureTuning,
): Promise<Tuning> {
  const { name } = device.info;
  let tuning = kept.get(name);
  if (tuning === undefined) {
    tuning = measure(device);
    kept.set(name, tuning);
    tuning.catch(() => kept.delete(name)); // the next caller tries again
  }
  return tuning;
}

/**
 * Times products of several sizes in large and in small blocks, alternating, and returns the number of blocks from
 * which on large ones always won; Infinity where they never do. The device's own choice does not change.
 */
export async function measureTuning(
  device: Tunable,
  { blocks, across, k, sampleMs, samples }: TuningSizes = sizes,
): Promise<Tuning> {
  const before = device.tuning;
  const most = blocks[blocks.length - 1], n = 128 * across;
  const a = device.alloc(128 * most / across * k * 4), b = device.alloc(n * k * 4);
  const out = device.alloc(128 * most / across * n * 4);
  try {
    const time = async (count: number, fewestLargeBlocks: number, runs: number): Promise<number> => {
      device.tuning = { fewestLargeBlocks };
      const start = performance.now();
      for (let run = 0; run < runs; run++) {
        device.run("matmul", {
          ...{ a, b, out, batch: 1, m: 128 * count / across, n, k, aBatchStride: 0, bBatchStride: 0 },
          ...{ transA: false, transB: false, packed: false, bType: "f32", epilogue: { activation: "none" } },
        });
      }
      await device.sync();
      return (performance.now() - start) / runs;
    };
    let fewest = Infinity;
    for (const count of blocks.toReversed()) {
      // The first run compiles shaders, the second says how many make a sample.
      for (const choice of [0, Infinity]) await time(count, choice, 1);
      const runs = Math.min(50, Math.ceil(sampleMs / Math.max(await time(count, 0, 1), 1e-3)));
      const large: number[] = [], small: number[] = [];
      for (let sample = 0; sample < samples; sample++) {
        large.push(await time(count, 0, runs));
        small.push(await time(count, Infinity, runs));
      }
      if (Math.min(...large) > Math.min(...small)) break;
      fewest = count;
    }
    return { fewestLargeBlocks: fewest };
  } finally {
    device.tuning = before;
    for (const storage of [a, b, out]) device.free(storage);
  }
}
