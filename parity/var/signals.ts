/** Case 05, signals: VAR, with greedy and with optimised quantisation. */
import { ScaleMaps } from "../../attribution/quantisation/scale_maps.ts";
import { gradientQuantize } from "../../attribution/quantisation/soft_assign.ts";
import { tracedWeights } from "../../attribution/signals/latent_tracer.ts";
import type { Device } from "../../core/tensor/mod.ts";
import { syntheticSource } from "../../models/checkpoint/mod.ts";
import { loadVarTokenizer } from "../../models/var/family.ts";
import { vqvaeSpecs } from "../../models/var/vqvae.ts";
import type { ParityCase } from "../case.ts";
import type { Result } from "../compute.ts";
import { familyResults } from "../family_signals.ts";
import { vqvaeConfig } from "./configs.ts";

/** Signals under the case's VAR tokenizer; nothing where it has none. */
export async function* varSignals(parityCase: ParityCase, device: Device): AsyncGenerator<Result> {
  const { vae, optimized_quant: given } = parityCase.manifest.config;
  if (!vae) return;
  const config = vqvaeConfig(vae);
  const source = syntheticSource(parityCase.salt, vqvaeSpecs(config));
  const family = await loadVarTokenizer(device, source, config, tracedWeights);
  yield* familyResults(parityCase, device, family, "var_greedy_", (f) => family.quantize(f));
  const maps = new ScaleMaps(family);
  yield* familyResults(
    parityCase,
    device,
    family,
    "var_opt_",
    (f) =>
      gradientQuantize(maps, f, family.quantize(f).tokens, {
        iterations: given.iters,
        lr: given.lr,
        tauStart: given.tau_start,
        tauEnd: given.tau_end,
        stop: given.stop,
        lossOver: "batch",
      }),
  );
  maps.dispose();
  family.dispose();
}
