/** On a page: what tests/core/browser/chromium_slow_test.ts asks for. */
import { openCpuDevice } from "../../../core/cpu/mod.ts";
import { fromArray, matmul, scope } from "../../../core/tensor/mod.ts";
import { networkPasses, type Passes } from "./networks.ts";

/** Passes of the networks with the files below /files/. */
const passes = (device: "cpu" | "webgpu"): Promise<Passes> =>
  networkPasses(device, async (name) => new Uint8Array(await (await fetch(`/files/${name}`)).arrayBuffer()));

/**
 * Products on the CPU device until all workers that it wants are there, 10 seconds at most; then whether the same product
 * with all of them is the same, and how many threads and workers there were.
 */
async function cpuThreads(): Promise<{ threads: number; workers: number; same: boolean }> {
  const device = openCpuDevice();
  const values = Float32Array.from({ length: 512 * 512 }, (_, i) => Math.sin(i));
  const product = async () => {
    const result = scope(() => {
      const a = fromArray(device, values, [512, 512]);
      return matmul(a, a);
    });
    const data = await result.data();
    result.dispose();
    return data;
  };
  const first = await product();
  for (let i = 0; i < 100 && device.workers < device.threads - 1; i++) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    await product();
  }
  const { threads, workers } = device;
  const again = await product();
  device.close();
  return { threads, workers, same: again.every((value, i) => value === first[i]) };
}

export const onPage = { passes, cpuThreads };

declare global {
  var onPage: typeof import("./networks_page.ts").onPage;
}
globalThis.onPage = onPage;
