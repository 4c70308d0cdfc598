/**
 * Quantisers by name, for settings and command lines: a table from a name to what makes one for a family.
 * A tokenizer with one token per position has the nearest code as the best one: all names mean that for it.
 */
import type { ImageTokenizer } from "../../models/family.ts";
import type { ModelSet } from "../../models/model_set.ts";
import { OptimisedQuantizer, referenceSchedule, searchLimit } from "./mod.ts";
import type { Quantize } from "./quantize.ts";

/** A way to find the tokens of a latent. */
export interface Quantizer {
  /** f to tokens and fHat. */
  readonly quantize: Quantize;
  /** Frees its tables; the tokenizer is the caller's. */
  dispose(): void;
}

interface QuantizerRow {
  readonly description: string;
  readonly open: (tokenizer: ImageTokenizer) => Promise<Quantizer>;
}

/** `greedy` takes the nearest codes, `gradient` is the reference's, the others are faster and better: docs/quantisation.md. */
export type QuantizerName = "search" | "estimate" | "sweeps" | "greedy" | "gradient";

const quantizerTable: Readonly<Record<QuantizerName, QuantizerRow>> = {
  search: {
    description: "optimised, by a tree search for the most probable codes; for small tokenizers",
    open: async (tokenizer) => optimised(await OptimisedQuantizer.open(tokenizer, { method: "search" })),
  },
  estimate: {
    description: "optimised, by estimating all codes at once and sweeps of exact updates",
    open: async (tokenizer) => optimised(await OptimisedQuantizer.open(tokenizer, { method: "estimate" })),
  },
  sweeps: {
    description: "optimised, by sweeps of exact updates from the greedy codes; needs no simulation",
    open: async (tokenizer) => optimised(await OptimisedQuantizer.open(tokenizer, { method: "sweeps" })),
  },
  greedy: {
    description: "nearest codes, scale by scale",
    open: (tokenizer) => Promise.resolve({ quantize: (f) => tokenizer.quantize(f), dispose: () => {} }),
  },
  gradient: {
    description: "optimised, by the reference's gradient descent on soft codes; slow",
    open: async (tokenizer) => {
      // The official schedule leaves four scales out of its last calls; a tokenizer with fewer has fewer calls.
      const stop = Math.min(referenceSchedule.stop, tokenizer.patchNums.length - 1);
      const schedule = { ...referenceSchedule, stop };
      return optimised(await OptimisedQuantizer.open(tokenizer, { method: "gradient", schedule }));
    },
  },
};

/** All of them. */
export const quantizerNames: readonly QuantizerName[] = Object.keys(quantizerTable) as QuantizerName[];

/**
 * What a set is calibrated with unless the user says otherwise: the search, where every tokenizer of several scales is small
 * enough for it.
 */
export function defaultQuantizer(set: Pick<ModelSet, "families" | "tokenizerFacts">): QuantizerName {
  const isLarge = set.families.map((family) => set.tokenizerFacts(family))
    .some(({ patchNums, tokenCount, channels }) => patchNums.length > 1 && tokenCount * channels > searchLimit);
  return isLarge ? "estimate" : "search";
}

function optimised(quantizer: OptimisedQuantizer): Quantizer {
  return { quantize: (f) => quantizer.quantize(f), dispose: () => quantizer.dispose() };
}

/** The quantiser of that name for a tokenizer, once its tables are made. */
export async function openQuantizer(name: QuantizerName, tokenizer: ImageTokenizer): Promise<Quantizer> {
  if (tokenizer.residual !== null) return await quantizerTable[name].open(tokenizer);
  return { quantize: (f) => tokenizer.quantize(f), dispose: () => {} };
}
