/** VAR's configurations from case manifests, and networks with the case's synthetic weights. */
import type { Device } from "../../core/tensor/mod.ts";
import { syntheticSource } from "../../models/checkpoint/mod.ts";
import type { VarConfig, VqvaeConfig } from "../../models/var/config.ts";
import { loadVarTokenizer, loadVarVariant, type VarImageTokenizer, type VarVariant } from "../../models/var/family.ts";
import { transformerSpecs } from "../../models/var/transformer.ts";
import { vqvaeSpecs } from "../../models/var/vqvae.ts";

/** The manifest's `vae` configuration. */
export function vqvaeConfig(config: Record<string, number & number[]>): VqvaeConfig {
  return {
    ch: config.ch,
    chMult: config.ch_mult,
    resBlocks: config.num_res_blocks,
    zChannels: config.z_channels,
    codes: config.vocab_size,
    sharedPhi: config.share_quant_resi,
    patchNums: config.patch_nums,
    resolution: config.resolution,
  };
}

/** The manifest's `var` configuration; code width and count belong to the tokenizer. */
export function varConfig(
  config: Record<string, number & number[] & boolean>,
  tokenizer: { zChannels: number; codes: number },
): VarConfig {
  return {
    depth: config.depth,
    embedDim: config.embed_dim,
    heads: config.num_heads,
    sharedAdaLn: config.shared_aln,
    attnL2Norm: config.attn_l2_norm,
    classes: config.num_classes,
    patchNums: config.patch_nums,
    mlpRatio: config.mlp_ratio ?? 4,
    codeChannels: tokenizer.zChannels,
    codes: tokenizer.codes,
  };
}

/** A tokenizer with synthetic weights. */
export function syntheticVarTokenizer(device: Device, salt: string, config: VqvaeConfig): Promise<VarImageTokenizer> {
  return loadVarTokenizer(device, syntheticSource(salt, vqvaeSpecs(config)), config);
}

/** A transformer with synthetic weights. */
export function syntheticVarVariant(device: Device, salt: string, config: VarConfig): Promise<VarVariant> {
  return loadVarVariant(device, syntheticSource(salt, transformerSpecs(config)), config, "synthetic");
}
