/** LlamaGen's configurations from case manifests, and networks with the case's synthetic weights. */
import type { Device } from "../../core/tensor/mod.ts";
import { syntheticSource } from "../../models/checkpoint/mod.ts";
import type { LlamagenConfig, LlamagenTokenizerConfig } from "../../models/llamagen/config.ts";
import { llamagen, LlamagenImageTokenizer, LlamagenVariant } from "../../models/llamagen/family.ts";
import { tokenizerSpecs } from "../../models/llamagen/tokenizer.ts";
import { transformerSpecs } from "../../models/llamagen/transformer.ts";

/** The manifest's `vq` configuration. */
export function vqConfig(config: Record<string, number & number[]>): LlamagenTokenizerConfig {
  return {
    ch: config.ch,
    chMult: config.ch_mult,
    resBlocks: config.num_res_blocks,
    zChannels: config.z_channels,
    codes: config.codebook_size,
    codeChannels: config.codebook_embed_dim,
    resolution: config.resolution,
  };
}

/** The manifest's `gpt` configuration. */
export function gptConfig(config: Record<string, number>): LlamagenConfig {
  return {
    width: config.dim,
    layers: config.n_layer,
    heads: config.n_head,
    mlp: config.ffn_hidden,
    tokenCount: config.block_size,
    classes: config.num_classes,
    codes: config.vocab_size,
  };
}

/** A tokenizer with synthetic weights. */
export async function syntheticVq(
  device: Device,
  salt: string,
  config: LlamagenTokenizerConfig,
): Promise<LlamagenImageTokenizer> {
  const tokenizer = await llamagen.loadTokenizer(device, syntheticSource(salt, tokenizerSpecs(config)), config);
  return tokenizer as LlamagenImageTokenizer;
}

/** A transformer with synthetic weights. */
export async function syntheticGpt(device: Device, salt: string, config: LlamagenConfig): Promise<LlamagenVariant> {
  const source = syntheticSource(salt, transformerSpecs(config));
  return await llamagen.loadVariant(device, source, config, "synthetic") as LlamagenVariant;
}
