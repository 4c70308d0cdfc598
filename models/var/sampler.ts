/** The rule by which VAR mixes conditional and unconditional logits while sampling. Source: models/var.py. */

/** Guidance strength t of every scale; guided logits are (1 + t) conditional - t unconditional. */
export function guidanceStrengths(guidance: number, scales: number): number[] {
  return Array.from({ length: scales }, (_, si) => guidance * si / Math.max(scales - 1, 1));
}
