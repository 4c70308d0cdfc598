/**
 * The rule by which RAR mixes conditional and unconditional logits while sampling. Source: modeling/rar.py, `generate`.
 */
import type { RarSampler } from "./config.ts";

/**
 * Guidance factor of every step: (g - 1) (1 - cos(pi (k / n)^power)) / 2 + 1, so step 0 has factor 1; a guidance of 0
 * means none, factors of 1. Guided logits are unconditional + (conditional - unconditional) * factor.
 */
export function guidanceScales({ guidance, power }: Pick<RarSampler, "guidance" | "power">, n: number): number[] {
  if (guidance === 0) return new Array(n).fill(1);
  return Array.from({ length: n }, (_, k) => (guidance - 1) * (1 - Math.cos(Math.PI * (k / n) ** power)) / 2 + 1);
}
