/**
 * Quantisers by name, for settings and command lines: a table from a name to what makes one for a family.
 * RAR has one token per position, whose nearest code is the best one: all names mean that for it.
 */
import type { Family } from "../../models/family.ts";
import { VarFamily } from "../../models/var/family.ts";
import { ScaleMaps } from "../quantisation/scale_maps.ts";
import { gradientQuantize, referenceSchedule } from "../quantisation/soft_assign.ts";
import type { Quantize } from "../signals.ts";

export interface Quantizer {
  readonly quantize: Quantize;
  /** Frees its tables; the family is the caller's. */
  dispose(): void;
}

interface QuantizerRow {
  readonly description: string;
  readonly open: (family: VarFamily) => Quantizer;
}

export const quantizerTable = {
  greedy: {
    description: "nearest codes, scale by scale",
    open: (family) => ({ quantize: (f) => family.quantize(f), dispose: () => {} }),
  },
  gradient: {
    description: "the reference's gradient descent on soft codes, slow",
    open: (family) => {
      const maps = new ScaleMaps(family);
      const { length } = maps.patchNums;
      // The official schedule leaves as many calls below its last scale; fewer scales have fewer of them.
      const stop = Math.min(referenceSchedule.stop, length - 1);
      return {
        quantize: (f) => gradientQuantize(maps, f, family.quantize(f).tokens, { ...referenceSchedule, stop }),
        dispose: () => maps.dispose(),
      };
    },
  },
} as const satisfies Record<string, QuantizerRow>;

export type QuantizerName = keyof typeof quantizerTable;
export const quantizerNames = Object.keys(quantizerTable) as QuantizerName[];

/** The quantiser of that name for a family. */
export function openQuantizer(name: QuantizerName, family: Family): Quantizer {
  if (family instanceof VarFamily) return quantizerTable[name].open(family);
  return { quantize: (f) => family.quantize(f), dispose: () => {} };
}
