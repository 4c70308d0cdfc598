/**
 * The WebGPU device: kernels in WGSL, through Deno's WebGPU.
 */
import {
  type AdapterOptions,
  type Arithmetic,
  arithmeticOf,
  openAdapter,
  probeWebGpu,
  type Tiles,
  tilesOf,
} from "./adapter.ts";
import { WebGpuDevice, type WebGpuDeviceOptions } from "./device.ts";

export { hiddenCard } from "./driver.ts";
export { probeWebGpu };
export type { Arithmetic, Tiles, WebGpuDevice };
/** Options of `openWebGpuDevice`. */
export type OpenWebGpuOptions = AdapterOptions & WebGpuDeviceOptions;

/**
 * Opens a device on the best adapter. Rejects, saying what to install, without an adapter, and when there is only a
 * software adapter and `allowSoftware` is not set; with TypeError for tiles and arithmetic that there are not; with
 * DeviceError for float16 where the adapter or the tiles have none.
 */
export async function openWebGpuDevice(options: OpenWebGpuOptions = {}): Promise<WebGpuDevice> {
  const tiles = tilesOf(options.tiles), arithmetic = arithmeticOf(options.arithmetic);
  return new WebGpuDevice(await openAdapter(options), { ...options, tiles, arithmetic });
}
