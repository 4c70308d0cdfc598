/** The families' parts in parity. */
import type { ParityCase } from "./case.ts";
import type { TokenizerChoice } from "./encoder.ts";
import type { FamilyParity } from "./family.ts";
import { llamagenParity } from "./llamagen/part.ts";
import { rarParity } from "./rar/part.ts";
import { varParity } from "./var/part.ts";

/** In the order in which a case's families are computed. */
export const familyParts: readonly FamilyParity[] = [rarParity, varParity, llamagenParity];

/** The tokenizer that a case states. Throws an Error where it states none that is known. */
export function tokenizerOf({ name, manifest }: ParityCase): TokenizerChoice {
  for (const { family, tokenizerConfig } of familyParts) {
    const config = tokenizerConfig(manifest);
    if (config !== null) return { family, config };
  }
  throw new Error(`${name}: expected the configuration of a tokenizer, got ${Object.keys(manifest.config ?? {})}`);
}
