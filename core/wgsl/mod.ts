/**
 * Opens the WebGPU device. Everything else in this folder is its inside.
 */
import { type AdapterOptions, openAdapter, probeWebGpu } from "./adapter.ts";
import { WebGpuDevice, type WebGpuDeviceOptions } from "./device.ts";

export { probeWebGpu };
export type { WebGpuDevice };
export type OpenWebGpuOptions = AdapterOptions & WebGpuDeviceOptions;

/**
 * A device on the best adapter there is. Rejects, saying what to install, when there is none, and when there is only a
 * software adapter and `allowSoftware` is not set.
 */
export async function openWebGpuDevice(options: OpenWebGpuOptions = {}): Promise<WebGpuDevice> {
  return new WebGpuDevice(await openAdapter(options), options);
}
