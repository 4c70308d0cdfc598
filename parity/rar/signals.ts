/** Case 05, signals: RAR. */
import { tracedWeights } from "../../attribution/signals/latent_tracer.ts";
import { add, type Device, sub } from "../../core/tensor/mod.ts";
import { syntheticSource } from "../../models/checkpoint/mod.ts";
import { loadRarTokenizer } from "../../models/rar/family.ts";
import { tokenizerSpecs } from "../../models/rar/tokenizer.ts";
import type { ParityCase } from "../case.ts";
import type { Result } from "../compute.ts";
import { familyResults } from "../family_signals.ts";
import { tokenizerConfig } from "./configs.ts";

/** Signals under the case's RAR tokenizer; nothing where it has none. */
export async function* rarSignals(parityCase: ParityCase, device: Device): AsyncGenerator<Result> {
  const { rar_tokenizer: tokenizer } = parityCase.manifest.config;
  if (!tokenizer) return;
  const config = tokenizerConfig(tokenizer);
  const source = syntheticSource(parityCase.salt, tokenizerSpecs(config));
  const family = await loadRarTokenizer(device, source, config, tracedWeights);
  yield* familyResults(parityCase, device, family, "rar_", (f) => {
    // The reference hands on f + (fHat - f), which differs from fHat by rounding.
    const { tokens, fHat } = family.quantize(f);
    return { tokens, fHat: add(f, sub(fHat, f)) };
  });
  family.dispose();
}
