/**
 * The table of quantisers by name, for settings and command lines. For a tokenizer with one token per position the
 * nearest code is optimal, so all names mean the same.
 */
import type { ImageTokenizer } from "../../models/family.ts";
import type { ModelSet } from "../../models/model_set.ts";
import { OptimisedQuantizer, referenceSchedule, searchLimit } from "./mod.ts";
import type { Quantize } from "./quantize.ts";

/** A way to find the tokens of a latent. */
export interface Quantizer {
  /** From latents to tokens and fHat. */
  readonly quantize: Quantize;
  /** Frees the quantiser's tables, not the tokenizer. */
  dispose(): void;
}

/** A row of the table. */
interface QuantizerRow {
  readonly description: string;
  readonly open: (tokenizer: ImageTokenizer) => Promise<Quantizer>;
}

/**
 * Name of a quantiser. `greedy` takes the nearest codes and `gradient` is the reference's method; the others are faster
 * than it and recover more tokens (docs/quantisation.md).
 */
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
      // The official schedule stops at four scales. A tokenizer with fewer scales has fewer calls.
      const stop = Math.min(referenceSchedule.stop, tokenizer.patchNums.length - 1);
      const schedule = { ...referenceSchedule, stop };
      return optimised(await OptimisedQuantizer.open(tokenizer, { method: "gradient", schedule }));
    },
  },
};

/** All quantisers. */
export const quantizerNames: readonly QuantizerName[] = Object.keys(quantizerTable) as QuantizerName[];

/** The default quantiser of a model set: `search` if every tokenizer is small enough for it, else `estimate`. */
export function defaultQuantizer(set: Pick<ModelSet, "families" | "tokenizerFacts">): QuantizerName {
  const isLarge = set.families.map((family) => set.tokenizerFacts(family))
    .some(({ patchNums, tokenCount, channels }) => patchNums.length > 1 && tokenCount * channels > searchLimit);
  return isLarge ? "estimate" : "search";
}

function optimised(quantizer: OptimisedQuantizer): Quantizer {
  return { quantize: (f) => quantizer.quantize(f), dispose: () => quantizer.dispose() };
}

/** Opens a quantiser by name: makes its tables for a tokenizer. Throws for `search` if the tokenizer is too large. */
export async function openQuantizer(name: QuantizerName, tokenizer: ImageTokenizer): Promise<Quantizer> {
  if (tokenizer.residual !== null) return await quantizerTable[name].open(tokenizer);
  return { quantize: (f) => tokenizer.quantize(f), dispose: () => {} };
}
