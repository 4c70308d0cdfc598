/** VAR tokenizers with synthetic weights whose quantiser is small; their encoders are never run. */
import { type Device, fromArray, normals, type Tensor, uniforms } from "../../../core/tensor/mod.ts";
import { syntheticSource } from "../../../models/checkpoint/mod.ts";
import type { VqvaeConfig } from "../../../models/var/config.ts";
import { loadVarTokenizer, type VarImageTokenizer } from "../../../models/var/family.ts";
import { vqvaeSpecs } from "../../../models/var/vqvae.ts";

export function smallFamily(
  device: Device,
  { zChannels, codes, patchNums }: Pick<VqvaeConfig, "zChannels" | "codes" | "patchNums">,
): Promise<VarImageTokenizer> {
  const config = { ch: 32, chMult: [1], resBlocks: 1, zChannels, codes, sharedPhi: 4, patchNums, resolution: 32 };
  return loadVarTokenizer(device, syntheticSource("quantisation", vqvaeSpecs(config)), config);
}

export function randomTokens(device: Device, family: VarImageTokenizer, batch: number, seed = 1): Tensor {
  const values = uniforms(seed, 0, batch * family.tokenCount);
  return fromArray(device, Int32Array.from(values, (u) => Math.floor(u * family.codes)), [batch, family.tokenCount]);
}

/** Some f[batch, side, side, c] that no tokens stand for. */
export function randomF(device: Device, family: VarImageTokenizer, batch: number, seed = 1): Tensor {
  const { patchNums, zChannels } = family.config;
  const side = patchNums[patchNums.length - 1];
  return fromArray(device, normals(seed, 0, batch * side * side * zChannels), [batch, side, side, zChannels]);
}
