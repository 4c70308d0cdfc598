/**
 * Times cases: all contenders warm up, then take samples in turns, so that a disturbance of the machine affects all
 * alike.
 */
import { resourceUsage } from "node:process";
import type { Device } from "../core/tensor/mod.ts";
import { type BenchCase, isWhole } from "./case.ts";
import type { Contender } from "./contender.ts";

export interface Timing {
  readonly median: number;
  readonly best: number;
  /** Seconds per run, in the order taken. */
  readonly samples: readonly number[];
}

export interface RivalTiming extends Timing {
  readonly name: string;
  /** Median over the rounds of our time divided by the rival's. */
  readonly ratio: number;
}

export interface Measured {
  readonly group: BenchCase["group"];
  readonly name: string;
  readonly batch: number;
  readonly flops: number;
  readonly seconds: Timing;
  /** GFLOP/s by the median. */
  readonly gflops: number;
  /** Images per second by the median, of passes and training steps. */
  readonly imagesPerSecond: number | null;
  readonly rivals: readonly RivalTiming[];
  /** Peak of the device's memory, weights included, in bytes. */
  readonly devicePeakBytes: number;
  /** Resident memory of the process after the case, and the highest so far. */
  readonly rssBytes: number;
  readonly rssPeakBytes: number;
  /** Processor time over elapsed time while we ran: below the number of threads when others had the processors. */
  readonly processors: number;
}

export interface MeasureOptions {
  readonly repeat: number;
  /** No more rounds are begun after this many seconds; the first is always taken. */
  readonly maxSeconds: number;
  /** Pause between contenders, so that none pays for the threads that another left spinning. */
  readonly pauseMs: number;
}

export function median(values: readonly number[]): number {
  if (values.length === 0) throw new Error("median: expected at least one value, got none");
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

export function timing(samples: readonly number[]): Timing {
  return { median: median(samples), best: Math.min(...samples), samples };
}

/** Median over the rounds of our time divided by the rival's. */
export function ratio(ours: readonly number[], rival: readonly number[]): number {
  return median(ours.map((seconds, i) => seconds / rival[i]));
}

/** Cases during which others used the processors, so that the figures are worse than the machine is. */
export function disturbed(results: readonly Measured[], threads: number): Measured[] {
  return results.filter(({ group, processors }) => group !== "attention" && processors < 0.8 * threads);
}

/** Processor time of this process so far, in seconds. */
export function processorSeconds(): number {
  const { userCPUTime, systemCPUTime } = resourceUsage();
  return (userCPUTime + systemCPUTime) / 1e6;
}

const pause = (ms: number) => ms > 0 ? new Promise((done) => setTimeout(done, ms)) : undefined;

/** Times `ours` and all `rivals` that know the case. */
export async function measure(
  benchCase: BenchCase,
  device: Device,
  ours: Contender,
  rivals: readonly Contender[],
  options: MeasureOptions,
): Promise<Measured> {
  const contenders = [ours, ...rivals.filter((rival) => rival.supports(benchCase))];
  device.trim();
  device.resetPeak();
  for (const contender of contenders) {
    await contender.warmUp(benchCase);
    await pause(options.pauseMs);
  }
  const samples: number[][] = contenders.map(() => []);
  const begin = performance.now();
  let ourProcessor = 0, ourElapsed = 0;
  for (let round = 0; round < options.repeat; round++) {
    for (const [i, contender] of contenders.entries()) {
      const before = processorSeconds(), start = performance.now();
      samples[i].push(await contender.sample(benchCase));
      if (contender === ours) {
        ourProcessor += processorSeconds() - before;
        ourElapsed += (performance.now() - start) / 1000;
      }
      if (contenders.length > 1) await pause(options.pauseMs);
    }
    if ((performance.now() - begin) / 1000 > options.maxSeconds) break;
  }
  const seconds = timing(samples[0]);
  const { group, name, batch, flops } = benchCase;
  return {
    ...{ group, name, batch, flops, seconds },
    gflops: flops / seconds.median / 1e9,
    imagesPerSecond: isWhole(group) ? batch / seconds.median : null,
    rivals: contenders.slice(1).map((rival, i) => ({
      name: rival.name,
      ...timing(samples[i + 1]),
      ratio: ratio(samples[0], samples[i + 1]),
    })),
    devicePeakBytes: device.memory().peakBytes,
    rssBytes: Deno.memoryUsage().rss,
    rssPeakBytes: resourceUsage().maxRSS * 1024,
    processors: ourProcessor / ourElapsed,
  };
}
