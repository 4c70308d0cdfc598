/** VAR's encoder under training, with the case's synthetic weights. */
import { type Device, scope } from "../../core/tensor/mod.ts";
import { syntheticSource } from "../../models/checkpoint/mod.ts";
import { VarImageTokenizer } from "../../models/var/family.ts";
import { encode, vqvaeSpecs } from "../../models/var/vqvae.ts";
import { loadWeights } from "../../models/weights.ts";
import type { ParityCase } from "../case.ts";
import { type Encoder, trained } from "../encoder.ts";
import { vqvaeConfig } from "./configs.ts";

/** The encoder of a manifest's `vae` configuration. */
export async function openVarEncoder(
  parityCase: ParityCase,
  device: Device,
  manifest: Parameters<typeof vqvaeConfig>[0],
): Promise<Encoder> {
  const config = vqvaeConfig(manifest), specs = vqvaeSpecs(config);
  const source = syntheticSource(parityCase.salt, specs);
  const weights = await loadWeights(device, source, specs, { what: parityCase.name, dense: trained });
  const family = new VarImageTokenizer(device, weights, config);
  return {
    specs: specs.filter((spec) => trained(spec.name)),
    weights,
    size: config.resolution,
    range: "[-1,1]",
    encode: (images) => encode(images, weights, config),
    target: (images) => scope(() => family.quantize(family.encode(images)).fHat),
    dispose: () => family.dispose(),
  };
}
