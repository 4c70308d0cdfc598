/**
 * Finds a WebGPU adapter, tells hardware from software, and opens it with its highest limits of memory; or says what to
 * install.
 */
import { environmentVariable, setUnlessSet } from "../../util/environment.ts";
import { DeviceError } from "../../util/errors.ts";
import { hiddenCard } from "./driver.ts";
import { largestAllocation } from "./probe.ts";

/** Which adapter to take. */
export interface AdapterOptions {
  /** Accept a software adapter such as llvmpipe. Default false. */
  readonly allowSoftware?: boolean;
  readonly powerPreference?: "low-power" | "high-performance";
  /**
   * Part of the adapter's name, such as `H200`; upper and lower case count the same. Default: what MODEL_TRACER_CARD
   * says, else any adapter will do.
   */
  readonly card?: string;
}

/** An adapter's device. */
export interface OpenedAdapter {
  readonly gpu: GPUDevice;
  readonly name: string;
  readonly software: boolean;
  /** Largest buffer that a card gave when it was tried, in bytes. Default: what its limits say. */
  readonly maxAllocationBytes?: number;
}

const install = "On Debian or Ubuntu, a software adapter needs `apt-get install mesa-vulkan-drivers libvulkan1`; " +
  "an NVIDIA card needs its driver with the Vulkan ICD file and `apt-get install libvulkan1` " +
  "(in containers also NVIDIA_DRIVER_CAPABILITIES=all)";

/** Why there is no card, or what to install. */
function advice(): string {
  return hiddenCard() ?? install;
}

/** What an adapter says of itself, by which software is told from hardware. */
export type AdapterFacts = Pick<
  GPUAdapterInfo,
  "vendor" | "architecture" | "device" | "description" | "isFallbackAdapter"
>;

/** Names of software rasterisers: Mesa's llvmpipe (lavapipe), SwiftShader, Microsoft's WARP ("Basic Render Driver"). */
const softwareNames = /llvmpipe|lavapipe|swiftshader|software|basic render|\bwarp\b/i;

/**
 * PCI or Vulkan vendor, then device, where Deno gives numbers instead of names: Mesa without hardware (0x10005, any
 * device), SwiftShader (0x1ae0, 0xc0de), WARP (0x1414, 0x8c). Chromium has the same rows in Dawn's gpu_info.json.
 */
const softwareNumbers: readonly (readonly [vendor: number, device?: number])[] = [
  [0x10005],
  [0x1ae0, 0xc0de],
  [0x1414, 0x8c],
];

/**
 * Whether an adapter computes on the processor: it says that it is a fallback, has the name of a software rasteriser as
 * description or architecture (a page may be told no description), or a software rasteriser's numbers.
 */
export function isSoftware(info: AdapterFacts): boolean {
  if (info.isFallbackAdapter || softwareNames.test(`${info.architecture} ${info.description}`)) return true;
  return softwareNumbers.some(([vendor, device]) =>
    info.vendor === String(vendor) && (device === undefined || info.device === String(device))
  );
}

function adapterName(info: GPUAdapterInfo): string {
  return info.description || [info.vendor, info.architecture, info.device].filter(Boolean).join(" ") ||
    "unnamed adapter";
}

/**
 * What the environment should say before the first adapter of a process is asked for, on Linux; a user's own values stay.
 *
 * XDG_RUNTIME_DIR: Mesa prints errors without it, although computing does not need it. DENO_WEBGPU_BACKEND: the runtime
 * would also initialise OpenGL, whose teardown in libglvnd frees the state of threads that free it themselves: about one
 * process in 70 crashed at its exit.
 */
export const environment: Readonly<Record<string, string>> = {
  XDG_RUNTIME_DIR: "/tmp",
  DENO_WEBGPU_BACKEND: "vulkan",
};

/** Environment variable that chooses an adapter where the program does not: part of its name. */
export const cardVariable = "MODEL_TRACER_CARD";

/** Environment variable that chooses tiles where the program does not: auto, hardware or software. */
export const tilesVariable = "MODEL_TRACER_TILES";

/**
 * Kind of tiles: with workgroup memory and barriers ("hardware"), with registers only ("software"), or by the kind of
 * adapter ("auto"). Results agree within rounding; a card is slow with tiles for software, and the other way round.
 */
export type Tiles = "auto" | "hardware" | "software";

/** The tiles that the program asked for, else those of MODEL_TRACER_TILES, else "auto". Throws TypeError for others. */
export function tilesOf(asked: Tiles | undefined): Tiles {
  const tiles = asked ?? environmentVariable(tilesVariable) ?? "auto";
  if (tiles === "auto" || tiles === "hardware" || tiles === "software") return tiles;
  throw new TypeError(
    `${asked === undefined ? tilesVariable : "tiles"}: expected auto, hardware or software, got ${tiles}`,
  );
}

/** Environment variable that chooses the arithmetic of products where the program does not: f32 or f16. */
export const arithmeticVariable = "MODEL_TRACER_ARITHMETIC";

/**
 * Arithmetic of products with packed linear weights of more than 16 rows, that is, of transformers: float32, or operands
 * and sums of eight products in float16, and the rest in float32. Cards do two float16 operations in the time of one.
 * Only tiles for hardware have it, and only adapters with the feature shader-f16. docs/cards.md has its error.
 */
export type Arithmetic = "f32" | "f16";

/** What the program asked for, else what MODEL_TRACER_ARITHMETIC says, else "f32". Throws TypeError for others. */
export function arithmeticOf(asked: Arithmetic | undefined): Arithmetic {
  const arithmetic = asked ?? environmentVariable(arithmeticVariable) ?? "f32";
  if (arithmetic === "f32" || arithmetic === "f16") return arithmetic;
  throw new TypeError(
    `${asked === undefined ? arithmeticVariable : "arithmetic"}: expected f32 or f16, got ${arithmetic}`,
  );
}

function setEnvironment(): void {
  if (typeof Deno === "undefined" || Deno.build.os !== "linux") return;
  for (const [variable, value] of Object.entries(environment)) setUnlessSet(variable, value);
}

/** How adapters are asked for, in order: WebGPU offers one for each, and no list. */
const requests: readonly GPURequestAdapterOptions[] = [
  { powerPreference: "high-performance" },
  { powerPreference: "low-power" },
  { forceFallbackAdapter: true },
];

/** The first adapter whose name contains the wanted card. Throws DeviceError when there are only others. */
async function request({ powerPreference, card }: AdapterOptions): Promise<GPUAdapter | null> {
  if (typeof navigator === "undefined" || !navigator.gpu) return null;
  setEnvironment();
  const wanted = card ?? environmentVariable(cardVariable);
  const seen = new Set<string>();
  for (const options of powerPreference ? [{ powerPreference }, ...requests] : requests) {
    const adapter = await navigator.gpu.requestAdapter(options);
    if (!adapter) continue;
    const name = adapterName(adapter.info);
    if (wanted === undefined || name.toLowerCase().includes(wanted.toLowerCase())) return adapter;
    seen.add(name);
  }
  if (seen.size === 0) return null;
  throw new DeviceError(
    `webgpu: expected an adapter with "${wanted}" in its name (${card === undefined ? cardVariable : "card"}), ` +
      `found ${[...seen].join(" and ")}; docs/gpu.md says how to choose among cards`,
  );
}

/** What `openWebGpuDevice` would find, without opening it. */
export async function probeWebGpu(
  options: AdapterOptions = {},
): Promise<{ kind: "hardware" | "software" | "none"; name: string }> {
  const adapter = await request(options);
  if (!adapter) return { kind: "none", name: "" };
  return { kind: isSoftware(adapter.info) ? "software" : "hardware", name: adapterName(adapter.info) };
}

/**
 * Throws when there is no adapter, not the wanted one, or only a software adapter and it was not asked for.
 */
export async function openAdapter(options: AdapterOptions): Promise<OpenedAdapter> {
  const adapter = await request(options);
  if (!adapter) throw new DeviceError(`webgpu: no adapter found. ${advice()}. The cpu device works without any.`);
  const software = isSoftware(adapter.info);
  const name = adapterName(adapter.info);
  if (software && !options.allowSoftware) {
    throw new DeviceError(
      `webgpu: only the software adapter "${name}" was found, which is slower than the cpu device; ` +
        `ask for it explicitly (--device webgpu) to use it. ${advice()}`,
    );
  }
  const limits = adapter.limits;
  // Sizes of memory only. Of buffers, threads and workgroup memory no kernel needs more than WebGPU guarantees
  // (tests/core/wgsl/limits_test.ts); one that does asks here, and looks at the device's limits before it is chosen.
  const requiredLimits = {
    maxBufferSize: limits.maxBufferSize,
    maxStorageBufferBindingSize: limits.maxStorageBufferBindingSize,
    maxTextureDimension2D: limits.maxTextureDimension2D,
  };
  // To time dispatches: `bench --profile`. For products in float16.
  const wanted: readonly GPUFeatureName[] = ["timestamp-query", "shader-f16"];
  const requiredFeatures = wanted.filter((feature) => adapter.features.has(feature));
  const gpu = await adapter.requestDevice({ requiredLimits, requiredFeatures });
  if (software) return { gpu, name, software }; // its memory is the system's, and it may fill a gigabyte with zeros
  const most = Math.min(limits.maxBufferSize, limits.maxStorageBufferBindingSize);
  const maxAllocationBytes = await largestAllocation(gpu, most);
  if (maxAllocationBytes > 0) return { gpu, name, software, maxAllocationBytes };
  gpu.destroy();
  throw new DeviceError(`webgpu: ${name} gives no memory, not even 16 MiB; is it full of other processes' data?`);
}
