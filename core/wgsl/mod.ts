/**
 * Opens the WebGPU device. Everything else in this folder is its inside.
 */
import { type AdapterOptions, openAdapter, probeWebGpu } from "./adapter.ts";
import { WebGpuDevice, type WebGpuDeviceOptions } from "./device.ts";
import { tuningOf } from "./tuning.ts";

export { probeWebGpu };
export type { WebGpuDevice };
export type OpenWebGpuOptions = AdapterOptions & WebGpuDeviceOptions;

/**
 * A device on the best adapter there is; a card is measured for its blocks the first time (tuning.ts). Rejects, saying what to install, when there is none, and when there is only a
 * software adapter and `allowSoftware` is not set.
 */
export async function openWebGpuDevice(options: OpenWebGpuOptions = {}): Promise<WebGpuDevice> {
  const device = new WebGpuDevice(await openAdapter(options), options);
  if (device.tiles === "software" || device.info.software) return device;
  try {
    device.tuning = await tuningOf(device);
  } catch (error) {
    device.close();
    throw error;
  }
  return device;
}
