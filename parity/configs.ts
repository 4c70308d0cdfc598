/** Network configurations from case manifests, and networks with the case's synthetic weights. */
import type { Device } from "../core/tensor/mod.ts";
import { syntheticSource } from "../models/checkpoint/mod.ts";
import type { RarConfig, RarTokenizerConfig } from "../models/rar/config.ts";
import { loadRarTokenizer, loadRarVariant, type RarImageTokenizer, type RarVariant } from "../models/rar/family.ts";
import { tokenizerSpecs } from "../models/rar/tokenizer.ts";
import { transformerSpecs as rarSpecs } from "../models/rar/transformer.ts";
import type { VarConfig, VqvaeConfig } from "../models/var/config.ts";
import { loadVarTokenizer, loadVarVariant, type VarImageTokenizer, type VarVariant } from "../models/var/family.ts";
import { transformerSpecs as varSpecs } from "../models/var/transformer.ts";
import { vqvaeSpecs } from "../models/var/vqvae.ts";
import type { WeightSpec } from "../models/weights.ts";
import { ParityCase } from "./case.ts";

function source(salt: string, specs: readonly WeightSpec[]) {
  return syntheticSource(salt, specs);
}

/** The manifest's `tokenizer` configuration (MaskGIT-VQ). */
export function tokenizerConfig(config: Record<string, number & number[]>): RarTokenizerConfig {
  return {
    hiddenChannels: config.hidden_channels,
    channelMult: config.channel_mult,
    resBlocks: config.num_res_blocks,
    zChannels: config.z_channels,
    codes: config.codebook_size,
    resolution: config.resolution,
  };
}

/** The manifest's `rar` configuration. */
export function rarConfig(config: Record<string, number>): RarConfig {
  return {
    hiddenSize: config.hidden_size,
    layers: config.num_hidden_layers,
    heads: config.num_attention_heads,
    intermediateSize: config.intermediate_size,
    tokenCount: config.image_seq_len,
    classes: config.condition_num_classes,
    codes: config.codebook_size,
  };
}

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

export function syntheticRarFamily(
  device: Device,
  salt: string,
  config: RarTokenizerConfig,
): Promise<RarImageTokenizer> {
  return loadRarTokenizer(device, source(salt, tokenizerSpecs(config)), config);
}

export function syntheticRarVariant(device: Device, salt: string, config: RarConfig): Promise<RarVariant> {
  return loadRarVariant(device, source(salt, rarSpecs(config)), config, "synthetic");
}

export function syntheticVarFamily(device: Device, salt: string, config: VqvaeConfig): Promise<VarImageTokenizer> {
  return loadVarTokenizer(device, source(salt, vqvaeSpecs(config)), config);
}

export function syntheticVarVariant(device: Device, salt: string, config: VarConfig): Promise<VarVariant> {
  return loadVarVariant(device, source(salt, varSpecs(config)), config, "synthetic");
}

/** The case in the same folder and with the same salt whose configuration has `key`, for cases that build on another. */
export async function siblingCase(parityCase: ParityCase, key: string): Promise<ParityCase | null> {
  for await (const entry of Deno.readDir(parityCase.folder)) {
    if (!/^case01.*\.json$/.test(entry.name)) continue;
    const sibling = await ParityCase.open(`${parityCase.folder}/${entry.name}`);
    if (sibling && sibling.salt === parityCase.salt && sibling.manifest.config?.[key]) return sibling;
    sibling?.close();
  }
  return null;
}
