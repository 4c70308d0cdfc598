/**
 * How much memory a run may take for weights and activations when nobody says: what the device reports, capped.
 * What fits into it is planned in plan.ts; nothing is allocated here.
 */
import type { Device } from "../../core/tensor/mod.ts";

/** More gains little: all official networks run within it in half precision, the largest in turns. */
export const highestUsualLimit = 8 * 2 ** 30;

/** Where nothing is reported. */
export const unknownLimit = 4 * 2 ** 30;

/** Part of the memory that is free now; images, journal and the program itself need some, too. */
const share = 3 / 4;

/**
 * Bytes. Where the processor computes, also as a software adapter, three quarters of the memory that the system reports as
 * available, at most 8 GiB; 4 GiB where that may not be asked (`--allow-sys=systemMemoryInfo`), and for hardware adapters:
 * WebGPU does not tell how much memory they have. Limits of a control group (Slurm, containers) are not seen.
 */
export function usualMemoryLimit({ info }: Pick<Device, "info">): number {
  if (info.kind === "webgpu" && !info.software) return unknownLimit;
  try {
    return Math.min(highestUsualLimit, Math.floor(share * Deno.systemMemoryInfo().available));
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) return unknownLimit;
    throw error;
  }
}
