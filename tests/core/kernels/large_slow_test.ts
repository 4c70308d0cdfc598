/** Kernels at sizes that devices split, with the tiles that WebGPU uses on the other sort of adapter: slow on this one. */
import { openAllTargets, withDevices } from "../devices.ts";
import { largeKernels } from "./large_kernels.ts";

const targets = (await openAllTargets()).filter(({ label }) => label.endsWith(" tiles"));

for (const { title, slowOnOtherTiles, check } of largeKernels) {
  if (!slowOnOtherTiles) withDevices(title, (device) => check(device, 2), targets);
}
