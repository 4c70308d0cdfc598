/** Kernels at sizes that devices split, on all that runs them; with the tiles for other adapters in large_slow_test.ts. */
import { openAllTargets, withDevices } from "../devices.ts";
import { largeKernels } from "./large_kernels.ts";

const targets = (await openAllTargets()).filter(({ label }) => !label.endsWith(" tiles"));

/** On the CPU more runs than it takes until Workers that the first one starts are there. */
const runs = { cpu: 4, webgpu: 2 };

for (const { title, check } of largeKernels) {
  withDevices(title, (device) => check(device, runs[device.info.kind]), targets);
}
