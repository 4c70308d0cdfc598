/**
 * Opens a device by name: the only place that knows which devices exist.
 * Everything else gets a `Device` and does not ask where it runs.
 */
import { openCpuDevice } from "./cpu/mod.ts";
import type { Device } from "./tensor/device.ts";
import { openWebGpuDevice, probeWebGpu } from "./wgsl/mod.ts";

/** `auto` takes a hardware WebGPU adapter, else the CPU. */
export type DeviceName = "auto" | "cpu" | "webgpu";

/** Options of `openDevice`. */
export interface OpenDeviceOptions {
  /** CPU threads; all processors when not given. */
  readonly threads?: number;
}

/**
 * `auto` takes a hardware WebGPU adapter, else the CPU. `webgpu` also takes a software adapter, and throws with what to
 * install when there is none.
 */
export async function openDevice(name: DeviceName = "auto", options: OpenDeviceOptions = {}): Promise<Device> {
  if (name === "cpu") return openCpuDevice(options);
  if (name === "webgpu") return await openWebGpuDevice({ allowSoftware: true });
  if (name !== "auto") throw new Error(`device: expected auto, cpu or webgpu, got ${name}`);
  const { kind } = await probeWebGpu();
  return kind === "hardware" ? await openWebGpuDevice() : openCpuDevice(options);
}
