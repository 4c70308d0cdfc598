/** Which computation belongs to which case. */
import { attacks } from "./attacks.ts";
import type { ParityCase } from "./case.ts";
import { checkpoints } from "./checkpoints.ts";
import type { Compute } from "./compute.ts";
import { familyParts } from "./families.ts";
import { finetune } from "./finetune.ts";
import { interpolation } from "./interpolation.ts";
import { metrics } from "./metrics.ts";
import { membership } from "./mia.ts";
import { prada } from "./prada.ts";
import { signals } from "./signals.ts";

/** The cases that are no family's alone, by their names. */
const sharedCases: readonly (readonly [name: RegExp, compute: Compute])[] = [
  [/case03b/, interpolation],
  [/case(05|25).*_signals/, signals],
  [/case06|_finetune_/, finetune],
  [/case07/, prada],
  [/case08/, membership],
  [/case10/, attacks],
];

/** The computation for a case; null when none exists yet. */
export function computeFor(parityCase: ParityCase): Compute | null {
  const caseName = `${parityCase.manifest.case} ${parityCase.name}`;
  const shared = sharedCases.find(([name]) => name.test(caseName));
  if (shared !== undefined) return shared[1];
  const { config = {} } = parityCase.manifest;
  const familyCase = familyParts.flatMap(({ cases }) => cases)
    .find(({ name, network }) => name.test(caseName) && config[network] !== undefined);
  return familyCase?.compute ?? null;
}

/** Cases that are lists of files rather than of tensors. */
export function isCheckpointCase(parityCase: ParityCase): boolean {
  return parityCase.manifest.tensors === undefined && parityCase.manifest.files !== undefined;
}

/** Cases that are sets of numbers in the manifest itself. */
export function isMetricsCase(parityCase: ParityCase): boolean {
  return Array.isArray(parityCase.manifest.sets);
}

export { checkpoints, metrics };
