/**
 * The bits of every kernel, for wide_test.ts and the processes that it starts under other flags.
 * It holds no expectations.
 */
import { createHash } from "node:crypto";
import { openCpuDevice } from "../../../core/cpu/mod.ts";
import type { KernelBuild } from "../../../core/cpu/pool.ts";
import { runEverything } from "./kernel_runs.ts";

/**
 * The build that was taken (the best by default), and sha256 of every kernel's result. V8 joins only what its optimising compiler has
 * compiled, so the kernels run until nothing is left to the other one; the results are those of the last run.
 */
export async function hashesOfAll(build?: KernelBuild): Promise<{ build: string; hashes: Record<string, string> }> {
  const device = openCpuDevice({ threads: 1, build });
  let results = await runEverything(device);
  for (let run = 0; run < 3; run++) results = await runEverything(device);
  device.close();
  const hashes = [...results].map(([name, bytes]) => [name, createHash("sha256").update(bytes).digest("hex")]);
  return { build: device.build, hashes: Object.fromEntries(hashes) };
}
