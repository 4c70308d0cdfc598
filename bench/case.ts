/**
 * Cases: pieces of work to time on a device, with their number of operations.
 * measure.ts times them, for the contenders of contender.ts.
 */
import type { Device } from "../core/tensor/mod.ts";

export type Group = "matmul" | "conv" | "attention" | "passes" | "scoring" | "generation" | "training";

export const groups: readonly Group[] = ["matmul", "conv", "attention", "passes", "scoring", "generation", "training"];

/** Whole networks take seconds, and have images to count; kernels are repeated until there is something to time. */
export function isWhole(group: Group): boolean {
  return group === "passes" || group === "scoring" || group === "generation" || group === "training";
}

/** The work of a case as data, for contenders other than our library. */
export type Job =
  | { readonly kind: "matmul"; readonly m: number; readonly n: number; readonly k: number }
  /** [batch, h, w, cIn, cOut, kernel size]. */
  | { readonly kind: "conv"; readonly sizes: readonly number[] }
  /** [batch, heads, headDim, rows], and the blocks of the block-causal mask. */
  | { readonly kind: "attention"; readonly sizes: readonly number[]; readonly blocks: readonly number[] }
  /** A whole network by its name in torch_compare.py, for as many images as the case has unless said otherwise. */
  | { readonly kind: "pass"; readonly network: string; readonly batch?: number };

export interface BenchCase {
  readonly group: Group;
  readonly name: string;
  readonly batch: number;
  /** Operations of one run, by flops.ts. */
  readonly flops: number;
  readonly job?: Job;
  /** Does the work once, or records it; leaves nothing allocated. */
  run(): void;
}

/** Cases that share weights, and are open at the same time. */
export interface Workload {
  /** Group and names of the cases that `open` gives. */
  readonly group: Group;
  readonly names: readonly string[];
  open(device: Device): Promise<OpenWorkload>;
}

export interface OpenWorkload {
  readonly cases: readonly BenchCase[];
  /** Bytes of weights on the device. */
  readonly weightBytes: number;
  close(): void;
}
