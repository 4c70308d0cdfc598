/**
 * Opens a device by name. No other file names the devices; the rest of the library gets a `Device`.
 */
import { openCpuDevice } from "./cpu/mod.ts";
import type { Device } from "./tensor/device.ts";
import { arithmeticVariable, cardVariable, environment, tilesVariable } from "./wgsl/adapter.ts";
import { type Arithmetic, openWebGpuDevice, probeWebGpu, type Tiles } from "./wgsl/mod.ts";

/**
 * `auto` takes a hardware WebGPU adapter, else the CPU.
 *
 * @example
 * ```ts
 * import { type DeviceName, Tracer } from "@model-tracer/model-tracer";
 *
 * const device: DeviceName = "cpu";
 * await using tracer = await Tracer.open({ device });
 * console.log(tracer.info.device.name);
 * ```
 */
export type DeviceName = "auto" | "cpu" | "webgpu";

export type { Arithmetic, Tiles };

/** Environment variables that WebGPU is told by; a worker that opens it needs to read and write them. */
export const webGpuVariables: readonly string[] = [
  ...Object.keys(environment),
  ...[tilesVariable, cardVariable, arithmeticVariable],
];

/** Options of `openDevice`. */
export interface OpenDeviceOptions {
  /** Threads of the CPU device; one per processor when not given. */
  readonly threads?: number;
  /** Tiles of the WebGPU device. Default: what the environment variable MODEL_TRACER_TILES says, else "auto". */
  readonly tiles?: Tiles;
  /** Arithmetic of products on WebGPU. Default: what MODEL_TRACER_ARITHMETIC says, else "f32". */
  readonly arithmetic?: Arithmetic;
  /**
   * Part of the name of the card to take, such as `H200`. Default: what the environment variable MODEL_TRACER_CARD says,
   * else the fastest that WebGPU offers.
   */
  readonly card?: string;
}

/** The kind of the device that `openDevice` opens by a name. Nothing is opened. */
export async function deviceKind(
  name: DeviceName,
  { card }: Pick<OpenDeviceOptions, "card"> = {},
): Promise<"cpu" | "webgpu"> {
  if (name !== "auto") return name;
  return (await probeWebGpu({ card })).kind === "hardware" ? "webgpu" : "cpu";
}

/**
 * Opens a device: `auto` takes a hardware WebGPU adapter, else the CPU; `webgpu` also takes a software adapter. Close
 * it when done. Rejects with Error, saying what to install, when `webgpu` finds no adapter or not the wanted card; with TypeError for another
 * name, and for tiles that there are not; with RangeError for threads out of range.
 */
export async function openDevice(name: DeviceName = "auto", options: OpenDeviceOptions = {}): Promise<Device> {
  if (name === "cpu") return openCpuDevice(options);
  const { tiles, card, arithmetic } = options;
  if (name === "webgpu") return await openWebGpuDevice({ allowSoftware: true, tiles, card, arithmetic });
  if (name !== "auto") throw new TypeError(`device: expected auto, cpu or webgpu, got ${name}`);
  const { kind } = await probeWebGpu({ card });
  return kind === "hardware" ? await openWebGpuDevice({ tiles, card, arithmetic }) : openCpuDevice(options);
}
