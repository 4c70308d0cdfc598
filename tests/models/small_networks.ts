/** Networks of both families so small that every sequence of tokens can be enumerated. Their weights follow from a salt. */
import type { Device } from "../../core/tensor/mod.ts";
import { syntheticSource } from "../../models/checkpoint/mod.ts";
import type { RarConfig } from "../../models/rar/config.ts";
import { loadRarVariant, type RarVariant } from "../../models/rar/family.ts";
import { transformerSpecs as rarSpecs } from "../../models/rar/transformer.ts";
import type { VarConfig, VqvaeConfig } from "../../models/var/config.ts";
import { loadVarTokenizer, loadVarVariant, type VarImageTokenizer, type VarVariant } from "../../models/var/family.ts";
import { transformerSpecs as varSpecs } from "../../models/var/transformer.ts";
import { vqvaeSpecs } from "../../models/var/vqvae.ts";
import type { WeightSpec } from "../../models/weights.ts";

function source(salt: string, specs: readonly WeightSpec[]) {
  return syntheticSource(salt, specs);
}

/** `tokenCount` tokens of `codes` codes, three classes. */
export async function smallRar(device: Device, tokenCount: number, codes: number): Promise<RarVariant> {
  const config: RarConfig = {
    hiddenSize: 16,
    layers: 2,
    heads: 2,
    intermediateSize: 32,
    tokenCount,
    classes: 3,
    codes,
    spareRows: 2,
  };
  return await loadRarVariant(device, source("small-rar", rarSpecs(config)), config, "small");
}

/** VAR's tokenizer with scales of the given sizes and `codes` codes of four channels. */
export function smallVqvae(patchNums: readonly number[], codes: number): VqvaeConfig {
  return {
    ch: 8,
    chMult: [1, 1],
    resBlocks: 1,
    zChannels: 4,
    codes,
    sharedPhi: 2,
    patchNums,
    resolution: 2 * patchNums[patchNums.length - 1],
    normGroups: 4,
  };
}

/** Scales of the given sizes with `codes` codes, three classes, and their tokenizer. */
export async function smallVar(
  device: Device,
  patchNums: readonly number[],
  codes: number,
): Promise<{ family: VarImageTokenizer; variant: VarVariant }> {
  const tokenizer = smallVqvae(patchNums, codes);
  const config: VarConfig = {
    depth: 2,
    embedDim: 16,
    heads: 2,
    sharedAdaLn: false,
    attnL2Norm: true,
    classes: 3,
    patchNums,
    mlpRatio: 2,
    codeChannels: 4,
    codes,
  };
  const family = await loadVarTokenizer(device, source("small-var", vqvaeSpecs(tokenizer)), tokenizer);
  const variant = await loadVarVariant(device, source("small-var", varSpecs(config)), config, "small");
  return { family, variant };
}
