/** How much memory a block of logits and what is computed from it takes. */
import type { Device } from "../../core/tensor/mod.ts";

/**
 * Bytes, unless the plan of memory or the caller says less. A processor gains nothing from more than its caches hold. A card
 * needs enough rows at once to be busy, and every block costs some eighty dispatches.
 */
export function usualBlockBytes({ info }: Pick<Device, "info">): number {
  return info.kind === "webgpu" && !info.software ? 512 * 2 ** 20 : 32 * 2 ** 20;
}
