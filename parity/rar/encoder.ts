/** RAR's encoder under training, with the case's synthetic weights. */
import { type Device, scope } from "../../core/tensor/mod.ts";
import { syntheticSource } from "../../models/checkpoint/mod.ts";
import { RarImageTokenizer } from "../../models/rar/family.ts";
import { encode, tokenizerSpecs } from "../../models/rar/tokenizer.ts";
import { loadWeights } from "../../models/weights.ts";
import type { ParityCase } from "../case.ts";
import { type Encoder, trained } from "../encoder.ts";
import { tokenizerConfig } from "./configs.ts";

/** The encoder of a manifest's `tokenizer` configuration. */
export async function openRarEncoder(
  parityCase: ParityCase,
  device: Device,
  manifest: Parameters<typeof tokenizerConfig>[0],
): Promise<Encoder> {
  const config = tokenizerConfig(manifest), specs = tokenizerSpecs(config);
  const source = syntheticSource(parityCase.salt, specs);
  const weights = await loadWeights(device, source, specs, { what: parityCase.name, dense: trained });
  const family = new RarImageTokenizer(weights, config);
  return {
    specs: specs.filter((spec) => trained(spec.name)),
    weights,
    size: config.resolution,
    range: "[0,1]",
    encode: (images) => encode(images, weights, config),
    target: (images) => scope(() => family.quantize(family.encode(images)).fHat),
    dispose: () => family.dispose(),
  };
}
