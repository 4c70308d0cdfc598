/** RAR's configurations from case manifests, and networks with the case's synthetic weights. */
import type { Device } from "../../core/tensor/mod.ts";
import { syntheticSource } from "../../models/checkpoint/mod.ts";
import type { RarConfig, RarTokenizerConfig } from "../../models/rar/config.ts";
import { loadRarTokenizer, loadRarVariant, type RarImageTokenizer, type RarVariant } from "../../models/rar/family.ts";
import { tokenizerSpecs } from "../../models/rar/tokenizer.ts";
import { transformerSpecs } from "../../models/rar/transformer.ts";

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

/** A tokenizer with synthetic weights. */
export function syntheticRarTokenizer(
  device: Device,
  salt: string,
  config: RarTokenizerConfig,
): Promise<RarImageTokenizer> {
  return loadRarTokenizer(device, syntheticSource(salt, tokenizerSpecs(config)), config);
}

/** A transformer with synthetic weights. */
export function syntheticRarVariant(device: Device, salt: string, config: RarConfig): Promise<RarVariant> {
  return loadRarVariant(device, syntheticSource(salt, transformerSpecs(config)), config, "synthetic");
}
