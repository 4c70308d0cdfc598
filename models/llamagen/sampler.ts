/** The rule by which LlamaGen mixes conditional and unconditional logits while sampling. Source: autoregressive/models/generate.py. */
import type { LlamagenSampler } from "./config.ts";

/**
 * Guidance factor of every token; guided logits are unconditional + (conditional - unconditional) x factor. A guidance of
 * 1 or less means none. The first token is always guided; with an interval of 0 or more, tokens after number
 * `interval` + 1 are not.
 */
export function guidanceFactors(
  { guidance, interval }: Pick<LlamagenSampler, "guidance" | "interval">,
  n: number,
): number[] {
  const isGuided = (token: number) => guidance > 1 && (interval < 0 || token <= interval + 1);
  return Array.from({ length: n }, (_, token) => (isGuided(token) ? guidance : 1));
}
