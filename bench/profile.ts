/**
 * Time of a pass by kernel and shape. Only for the CPU device, whose `run` returns when the work is done; on other
 * devices it would time recording.
 */
import type { Workload } from "./case.ts";
import type { Device } from "../core/tensor/mod.ts";
import { type SeenKernel, watch } from "./kernel_work.ts";
import { table } from "./table.ts";

interface Entry {
  calls: number;
  seconds: number;
  flops: number;
  bytes: number;
}

function sumUp(calls: readonly SeenKernel[], keyOf: (call: SeenKernel) => string): [string, Entry][] {
  const entries = new Map<string, Entry>();
  for (const call of calls) {
    const key = keyOf(call);
    const entry = entries.get(key) ?? { calls: 0, seconds: 0, flops: 0, bytes: 0 };
    entry.calls++;
    entry.seconds += call.seconds;
    entry.flops += call.flops;
    entry.bytes += call.bytes;
    entries.set(key, entry);
  }
  return [...entries].sort(([, a], [, b]) => b.seconds - a.seconds);
}

function rows(entries: readonly [string, Entry][], total: number): string[][] {
  return entries.map(([key, { calls, seconds, flops, bytes }]) => [
    key,
    `${calls}`,
    (seconds * 1000).toFixed(1),
    (100 * seconds / total).toFixed(1),
    flops > 0 ? (flops / seconds / 1e9).toFixed(1) : "",
    (bytes / seconds / 1e9).toFixed(1),
  ]);
}

/** Runs every case of the workload twice and returns a table of the second run's kernels for each. */
export async function profile(
  workload: Workload,
  device: Device,
  wanted: (name: string) => boolean,
): Promise<string[]> {
  if (device.info.kind !== "cpu") throw new Error("bench: --profile expects --device cpu, whose kernels run at once");
  let calls: SeenKernel[] = [];
  const open = await workload.open(watch(device, (call) => calls.push(call)));
  const texts: string[] = [];
  for (const benchCase of open.cases.filter(({ name }) => wanted(name))) {
    benchCase.run();
    calls = [];
    const start = performance.now();
    benchCase.run();
    const total = (performance.now() - start) / 1000;
    const inKernels = calls.reduce((sum, { seconds }) => sum + seconds, 0);
    const head = ["", "calls", "ms", "%", "GFLOP/s", "GB/s"];
    const outside = ["(outside kernels)", "", ((total - inKernels) * 1000).toFixed(1)];
    const byKernel = rows(sumUp(calls, ({ kernel }) => kernel), total);
    const byShape = rows(sumUp(calls, ({ kernel, shape }) => `${kernel} ${shape}`), total);
    texts.push(
      `${benchCase.name}: ${(total * 1000).toFixed(0)} ms\n` +
        table([["by kernel", ...head.slice(1)], ...byKernel, outside]) + "\n" +
        table([["by shape (first 25)", ...head.slice(1)], ...byShape.slice(0, 25)]),
    );
  }
  open.close();
  return texts;
}
