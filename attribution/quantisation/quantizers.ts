/**
 * Quantisers by name, for settings and command lines: a table from a name to what makes one for a family.
 * RAR has one token per position, whose nearest code is the best one: all names mean that for it.
 */
import type { Family } from "../../models/family.ts";
import type { Manifest } from "../../models/manifest.ts";
import { tokenCount } from "../../models/var/config.ts";
import { VarFamily } from "../../models/var/family.ts";
import { OptimisedQuantizer, referenceSchedule, searchLimit } from "./mod.ts";
import type { Quantize } from "../signals/reconstruction.ts";

export interface Quantizer {
  readonly quantize: Quantize;
  /** Frees its tables; the family is the caller's. */
  dispose(): void;
}

interface QuantizerRow {
  readonly description: string;
  readonly open: (family: VarFamily) => Promise<Quantizer>;
}

export const quantizerTable = {
  search: {
    description: "optimised, by a tree search for the most probable codes; for small tokenizers",
    open: async (family) => optimised(await OptimisedQuantizer.open(family, { method: "search" })),
  },
  estimate: {
    description: "optimised, by estimating all codes at once and sweeps of exact updates",
    open: async (family) => optimised(await OptimisedQuantizer.open(family, { method: "estimate" })),
  },
  sweeps: {
    description: "optimised, by sweeps of exact updates from the greedy codes; needs no simulation",
    open: async (family) => optimised(await OptimisedQuantizer.open(family, { method: "sweeps" })),
  },
  greedy: {
    description: "nearest codes, scale by scale",
    open: (family) => Promise.resolve({ quantize: (f) => family.quantize(f), dispose: () => {} }),
  },
  gradient: {
    description: "optimised, by the reference's gradient descent on soft codes; slow",
    open: async (family) => {
      // The official schedule leaves four scales out of its last calls; a tokenizer with fewer has fewer calls.
      const stop = Math.min(referenceSchedule.stop, family.quantizer.patchNums.length - 1);
      const schedule = { ...referenceSchedule, stop };
      return optimised(await OptimisedQuantizer.open(family, { method: "gradient", schedule }));
    },
  },
} as const satisfies Record<string, QuantizerRow>;

export type QuantizerName = keyof typeof quantizerTable;
export const quantizerNames = Object.keys(quantizerTable) as QuantizerName[];

/** What a set is calibrated with unless the user says otherwise: the search, where VAR's tokenizer is small enough for it. */
export function defaultQuantizer({ families }: Pick<Manifest, "families">): QuantizerName {
  const { patchNums, zChannels } = families.var.tokenizer.config;
  return tokenCount(patchNums) * zChannels <= searchLimit ? "search" : "estimate";
}

function optimised(quantizer: OptimisedQuantizer): Quantizer {
  return { quantize: (f) => quantizer.quantize(f), dispose: () => quantizer.dispose() };
}

/** The quantiser of that name for a family, once its tables are made. */
export async function openQuantizer(name: QuantizerName, family: Family): Promise<Quantizer> {
  if (family instanceof VarFamily) return await quantizerTable[name].open(family);
  return { quantize: (f) => family.quantize(f), dispose: () => {} };
}
