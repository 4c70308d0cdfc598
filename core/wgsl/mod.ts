/**
 * The WebGPU device: kernels in WGSL, through Deno's WebGPU.
 */
import { type AdapterOptions, openAdapter, probeWebGpu, type Tiles, tilesOf } from "./adapter.ts";
import { WebGpuDevice, type WebGpuDeviceOptions } from "./device.ts";
import { tuningOf } from "./tuning.ts";

export { hiddenCard } from "./driver.ts";
export { probeWebGpu };
export type { Tiles, WebGpuDevice };
/** Options of `openWebGpuDevice`. */
export type OpenWebGpuOptions = AdapterOptions & WebGpuDeviceOptions;

/**
 * Opens a device on the best adapter; the first time, block sizes are measured on a card (tuning.ts). Rejects, saying
 * what to install, without an adapter, and when there is only a software adapter and `allowSoftware` is not set; with
 * TypeError for tiles that there are not.
 */
export async function openWebGpuDevice(options: OpenWebGpuOptions = {}): Promise<WebGpuDevice> {
  const tiles = tilesOf(options.tiles);
  const device = new WebGpuDevice(await openAdapter(options), { ...options, tiles });
  if (device.tiles === "software" || device.info.software) return device;
  try {
    device.tuning = await tuningOf(device);
  } catch (error) {
    device.close();
    throw error;
  }
  return device;
}
