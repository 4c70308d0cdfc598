/**
 * The devices that kernel and op tests run on, opened once per test file and shared by its tests.
 * Nothing is skipped: without a WebGPU adapter its tests fail and say what to install, unless `-- --cpu-only` (or
 * MODEL_TRACER_CPU_ONLY=1) asked for the CPU alone.
 */
import type { KernelBuild } from "../../core/cpu/pool.ts";
import type { Device } from "../../core/tensor/device.ts";
import { tilesVariable } from "../../core/wgsl/adapter.ts";
import type { WebGpuDevice } from "../../core/wgsl/mod.ts";
import { environmentVariable } from "../../util/environment.ts";

/** These tests run on a page as well (browser/), where there are no arguments and variables. */
const asked = (argument: string, variable: string) =>
  typeof Deno !== "undefined" && (Deno.args.includes(argument) || Deno.env.get(variable) === "1");

export const cpuOnly = asked("--cpu-only", "MODEL_TRACER_CPU_ONLY");
/** For drivers_slow_test.ts: nothing new would be heard of the CPU device. */
const webGpuOnly = asked("--webgpu-only", "MODEL_TRACER_WEBGPU_ONLY");

/** A way to run kernels: a device, or the reason why there is none. */
export interface Target {
  readonly label: string;
  readonly kind: "cpu" | "webgpu";
  /** The open device. Throws the reason why it could not be opened. */
  device(): Device;
}

/**
 * Opens a device for a whole test file. Call it at the top level of a module: what is opened outside of tests is none of
 * the sanitizers' business, and it is closed when the file's tests are done.
 */
async function openTarget(
  label: string,
  kind: "cpu" | "webgpu",
  open: () => Device | Promise<Device>,
): Promise<Target> {
  try {
    const device = await open();
    globalThis.addEventListener("unload", () => device.close());
    return { label, kind, device: () => device };
  } catch (error) {
    const reason = error instanceof Error ? error : new Error(String(error));
    return {
      label,
      kind,
      device: () => {
        throw reason;
      },
    };
  }
}

/** Opens WebGPU, on a software adapter where there is no other. */
export async function openWebGpuForTests(
  options: { tiles?: "auto" | "hardware" | "software"; arithmetic?: "f32" | "f16" } = {},
): Promise<Device> {
  const { openWebGpuDevice } = await import("../../core/wgsl/mod.ts");
  try {
    return await openWebGpuDevice({ allowSoftware: true, ...options });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`${reason} To test the CPU device alone: deno task test -- --cpu-only`);
  }
}

/** Opens the CPU device. */
export async function openCpuForTests(
  options: { threads?: number; build?: KernelBuild; memoryLimitBytes?: number } = {},
): Promise<Device> {
  const { openCpuDevice } = await import("../../core/cpu/mod.ts");
  return openCpuDevice(options);
}

/** One target per device, with the code paths that it chooses by itself. */
export const defaultTargets: Target[] = [];
if (!webGpuOnly) defaultTargets.push(await openTarget("cpu", "cpu", () => openCpuForTests()));
if (!cpuOnly) defaultTargets.push(await openTarget("webgpu", "webgpu", () => openWebGpuForTests()));

/**
 * The devices by default, and the same with their other code paths: by pairs of panels, without fused multiply-adds and
 * Workers, and with the WebGPU device's other tiles unless MODEL_TRACER_TILES asks for some. For the kernels that have such paths.
 */
export async function openAllTargets(): Promise<readonly Target[]> {
  const targets = [...defaultTargets];
  if (!webGpuOnly) {
    targets.push(await openTarget("cpu, wide", "cpu", () => openCpuForTests({ build: "wide" })));
    targets.push(await openTarget("cpu, plain", "cpu", () => openCpuForTests({ threads: 1, build: "plain" })));
  }
  if (!cpuOnly && environmentVariable(tilesVariable) === undefined) {
    const tiles = hasSoftwareTiles(defaultTargets[defaultTargets.length - 1]) ? "hardware" : "software";
    targets.push(await openTarget(`webgpu, ${tiles} tiles`, "webgpu", () => openWebGpuForTests({ tiles })));
  }
  return targets;
}

function hasSoftwareTiles(target: Target): boolean {
  try {
    return (target.device() as WebGpuDevice).tiles === "software";
  } catch {
    return true;
  }
}

/** Registers one test per device: `withDevices("matmul agrees", fn)` gives `matmul agrees [cpu]` and `... [webgpu]`. */
export function withDevices(
  name: string,
  fn: (device: Device) => void | Promise<void>,
  targets: readonly Target[] = defaultTargets,
): void {
  for (const target of targets) {
    Deno.test(`${name} [${target.label}]`, async () => await fn(target.device()));
  }
}
