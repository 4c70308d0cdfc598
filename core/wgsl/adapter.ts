/**
 * Finds a WebGPU adapter, tells hardware from software, and opens it with its highest limits; or says what to install.
 */
import { DeviceError } from "../../util/errors.ts";

/** Which adapter to take. */
export interface AdapterOptions {
  /** Accept a software adapter such as llvmpipe. Default false. */
  readonly allowSoftware?: boolean;
  readonly powerPreference?: "low-power" | "high-performance";
}

/** An adapter's device. */
export interface OpenedAdapter {
  readonly gpu: GPUDevice;
  readonly name: string;
  readonly software: boolean;
}

const install = "On Debian or Ubuntu, a software adapter needs `apt-get install mesa-vulkan-drivers libvulkan1`; " +
  "an NVIDIA card needs its driver with the Vulkan ICD file and `apt-get install libvulkan1` " +
  "(in containers also NVIDIA_DRIVER_CAPABILITIES=all)";

/** Whether an adapter says it is a fallback, or is a known software rasteriser. */
function isSoftware(info: GPUAdapterInfo): boolean {
  return info.isFallbackAdapter || /llvmpipe|lavapipe|swiftshader|software|basic render/i.test(info.description);
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

async function setEnvironment(): Promise<void> {
  if (Deno.build.os !== "linux") return;
  for (const [variable, value] of Object.entries(environment)) {
    const { state } = await Deno.permissions.query({ name: "env", variable });
    if (state === "granted" && !Deno.env.get(variable)) Deno.env.set(variable, value);
  }
}

async function request(options: AdapterOptions): Promise<GPUAdapter | null> {
  if (typeof navigator === "undefined" || !navigator.gpu) return null;
  await setEnvironment();
  const powerPreference = options.powerPreference ?? "high-performance";
  const adapter = await navigator.gpu.requestAdapter({ powerPreference });
  return adapter ?? await navigator.gpu.requestAdapter({ forceFallbackAdapter: true });
}

/** What `openWebGpuDevice` would find, without opening it. */
export async function probeWebGpu(): Promise<{ kind: "hardware" | "software" | "none"; name: string }> {
  const adapter = await request({});
  if (!adapter) return { kind: "none", name: "" };
  return { kind: isSoftware(adapter.info) ? "software" : "hardware", name: adapterName(adapter.info) };
}

/** Throws when there is no adapter, or only a software adapter and it was not asked for. */
export async function openAdapter(options: AdapterOptions): Promise<OpenedAdapter> {
  const adapter = await request(options);
  if (!adapter) throw new DeviceError(`webgpu: no adapter found. ${install}. The cpu device works without any.`);
  const software = isSoftware(adapter.info);
  const name = adapterName(adapter.info);
  if (software && !options.allowSoftware) {
    throw new DeviceError(
      `webgpu: only the software adapter "${name}" was found, which is slower than the cpu device; ` +
        `ask for it explicitly (--device webgpu) to use it. ${install}`,
    );
  }
  const limits = adapter.limits;
  const requiredLimits = {
    maxBufferSize: limits.maxBufferSize,
    maxStorageBufferBindingSize: limits.maxStorageBufferBindingSize,
    maxStorageBuffersPerShaderStage: limits.maxStorageBuffersPerShaderStage,
    maxComputeWorkgroupStorageSize: limits.maxComputeWorkgroupStorageSize,
    maxComputeInvocationsPerWorkgroup: limits.maxComputeInvocationsPerWorkgroup,
    maxComputeWorkgroupSizeX: limits.maxComputeWorkgroupSizeX,
    maxTextureDimension2D: limits.maxTextureDimension2D,
  };
  const gpu = await adapter.requestDevice({ requiredLimits });
  return { gpu, name, software };
}
