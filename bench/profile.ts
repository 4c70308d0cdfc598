/**
 * Time of a pass by kernel and shape. On the CPU device `run` returns when the work is done, and is timed; on WebGPU the GPU
 * times every dispatch by timestamp queries, where the adapter has them.
 */
import type { Device } from "../core/tensor/mod.ts";
import type { WebGpuDevice } from "../core/wgsl/mod.ts";
import { Timestamps } from "../core/wgsl/timestamps.ts";
import type { BenchCase, Workload } from "./case.ts";
import { type SeenKernel, watch } from "./kernel_work.ts";
import { table } from "./table.ts";

/** Calls that belong together. */
export interface KernelTime {
  /** The kernel, with its sizes in a list by shape. */
  readonly call: string;
  readonly calls: number;
  readonly seconds: number;
  readonly flops: number;
  readonly bytes: number;
}

/** A pass. */
export interface Profile {
  readonly name: string;
  /** From the first call to the end of the work. */
  readonly seconds: number;
  /** Longest first. */
  readonly byKernel: readonly KernelTime[];
  readonly byShape: readonly KernelTime[];
}

/** What calls reach: operations and bytes per second, and the share of the card's float32 peak where that is known. */
export interface KernelRate extends KernelTime {
  /** 0 for kernels that compute no products. */
  readonly tflops: number;
  readonly gigabytesPerSecond: number;
  readonly ofPeak?: number;
}

/** The profile with rates, for files. Calls that took no measurable time have rates of 0. */
export function withRates(
  { name, seconds, byKernel, byShape }: Profile,
  peakTflops?: number,
): Omit<Profile, "byKernel" | "byShape"> & { byKernel: readonly KernelRate[]; byShape: readonly KernelRate[] } {
  const rates = (times: readonly KernelTime[]) =>
    times.map((time): KernelRate => {
      const per = time.seconds > 0 ? 1 / time.seconds : 0;
      const tflops = time.flops * per / 1e12;
      return {
        ...{ ...time, tflops, gigabytesPerSecond: time.bytes * per / 1e9 },
        ...peakTflops !== undefined && { ofPeak: tflops / peakTflops },
      };
    });
  return { name, seconds, byKernel: rates(byKernel), byShape: rates(byShape) };
}

function sumUp(calls: readonly SeenKernel[], keyOf: (call: SeenKernel) => string): KernelTime[] {
  const entries = new Map<string, { -readonly [K in keyof KernelTime]: KernelTime[K] }>();
  for (const call of calls) {
    const key = keyOf(call);
    const entry = entries.get(key) ?? { call: key, calls: 0, seconds: 0, flops: 0, bytes: 0 };
    entry.calls++;
    entry.seconds += call.seconds;
    entry.flops += call.flops;
    entry.bytes += call.bytes;
    entries.set(key, entry);
  }
  return [...entries.values()].sort((a, b) => b.seconds - a.seconds);
}

/** Runs every wanted case of the workload twice, and profiles the second run. Throws on adapters without timestamps. */
export async function profile(
  workload: Workload,
  device: Device,
  wanted: (name: string) => boolean,
): Promise<Profile[]> {
  const gpu = device.info.kind === "webgpu" ? device as WebGpuDevice : undefined;
  let calls: SeenKernel[] = [];
  /** Dispatches that were timed when each call had returned. */
  let ends: number[] = [];
  const watched = watch(device, (call) => {
    calls.push(call);
    ends.push(gpu?.recorder.timestamps?.count ?? 0);
  });
  const open = await workload.open(watched);
  const run = async (benchCase: BenchCase): Promise<Profile> => {
    benchCase.run();
    await device.sync();
    [calls, ends] = [[], []];
    const timestamps = gpu && new Timestamps(gpu.adapter.gpu);
    if (gpu) gpu.recorder.timestamps = timestamps;
    const start = performance.now();
    benchCase.run();
    await device.sync();
    const seconds = (performance.now() - start) / 1000;
    if (gpu && timestamps) {
      gpu.recorder.timestamps = undefined;
      const times = await timestamps.seconds();
      calls = calls.map((call, i) => ({
        ...call,
        seconds: times.subarray(i === 0 ? 0 : ends[i - 1], ends[i]).reduce((a, b) => a + b, 0),
      }));
    }
    return {
      ...{ name: benchCase.name, seconds },
      byKernel: sumUp(calls, ({ kernel }) => kernel),
      byShape: sumUp(calls, ({ kernel, shape }) => `${kernel} ${shape}`),
    };
  };
  const profiles: Profile[] = [];
  try {
    for (const benchCase of open.cases.filter(({ name }) => wanted(name))) profiles.push(await run(benchCase));
  } finally {
    open.close();
  }
  return profiles;
}

/** The profile as two tables; with a peak in TFLOP/s also the share of it that every row reaches. */
export function profileTables({ name, seconds, byKernel, byShape }: Profile, peakTflops?: number): string {
  const rows = (times: readonly KernelTime[]) =>
    times.map(({ call, calls, seconds: own, flops, bytes }) => [
      call,
      `${calls}`,
      (own * 1000).toFixed(1),
      (100 * own / seconds).toFixed(1),
      flops > 0 ? (flops / own / 1e9).toFixed(1) : "",
      (bytes / own / 1e9).toFixed(1),
      ...peakTflops === undefined ? [] : [flops > 0 ? `${(flops / own / peakTflops / 1e10).toFixed(1)} %` : ""],
    ]);
  const head = ["calls", "ms", "%", "GFLOP/s", "GB/s", ...peakTflops === undefined ? [] : ["of peak"]];
  const outside = seconds - byKernel.reduce((sum, { seconds }) => sum + seconds, 0);
  return `${name}: ${(seconds * 1000).toFixed(0)} ms\n` +
    table([["by kernel", ...head], ...rows(byKernel), ["(outside kernels)", "", (outside * 1000).toFixed(1)]]) + "\n" +
    table([["by shape (first 25)", ...head], ...rows(byShape).slice(0, 25)]);
}
