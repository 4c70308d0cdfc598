/**
 * The default limit for weights and activations: what the system reports, capped. memory_plan.ts plans what fits into
 * it.
 */
import type { Device } from "../../core/tensor/mod.ts";

/**
 * Bytes, unless a network needs more. More gains little: in half precision all official networks run within 8 GiB, the
 * largest in turns.
 */
export const highestUsualLimit = 8 * 2 ** 30;

/** Bytes, for cards: all official networks in single precision at once, and 16 images per pass. */
export const highestCardLimit = 40 * 2 ** 30;

/** Bytes, where the system reports nothing. */
export const unknownLimit = 4 * 2 ** 30;

/** Share of the available memory. Images, journal and the program itself need the rest. */
const share = 3 / 4;

/**
 * The default limit in bytes. For the CPU device and software adapters: three quarters of the memory that the system
 * reports as available, at most 8 GiB, or `least`, what the work needs, where that is more; 4 GiB where Deno may not ask
 * the system (`--allow-sys=systemMemoryInfo`). Limits of control groups (Slurm, containers) are not seen: Deno lets
 * nobody read them without all permissions. For cards: three quarters of what can be allocated now, at most 40 GiB;
 * WebGPU reports nothing, so it is allocated for a moment.
 */
export async function usualMemoryLimit(
  device: Pick<Device, "info" | "availableBytes">,
  least = 0,
  availableBytes: () => number = () => Deno.systemMemoryInfo().available,
): Promise<number> {
  const { kind, software } = device.info;
  if (kind === "webgpu" && !software) {
    const available = await device.availableBytes?.(highestCardLimit / share);
    return available === undefined ? unknownLimit : Math.floor(share * available);
  }
  try {
    return Math.min(Math.max(highestUsualLimit, least), Math.floor(share * availableBytes()));
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) return unknownLimit;
    throw error;
  }
}
