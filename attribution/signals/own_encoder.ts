/**
 * A family with the encoder that its tokenizer was trained with, whatever the manifest puts in its place, and fit for descent:
 * what the baselines of the paper are measured with. Everything else takes the encoder of the set.
 */
import { join } from "node:path";
import type { Device } from "../../core/tensor/mod.ts";
import { openCheckpoint, syntheticSource, type TensorSource, withPrefix } from "../../models/checkpoint/mod.ts";
import type { Family, FamilyName } from "../../models/family.ts";
import type { WeightEntry } from "../../models/manifest.ts";
import type { ModelSet } from "../../models/model_set.ts";
import { loadRarFamily } from "../../models/rar/family.ts";
import { tokenizerSpecs } from "../../models/rar/tokenizer.ts";
import { loadVarFamily } from "../../models/var/family.ts";
import { vqvaeSpecs } from "../../models/var/vqvae.ts";
import type { WeightSpec } from "../../models/weights.ts";
import { tracedWeights } from "./latent_tracer.ts";

/** Gradients keep what a forward pass computes: so many times fewer images at once. */
export const tracingShare = 16;

/** Loads the family; the caller disposes of it. */
export async function loadWithOwnEncoder(set: ModelSet, device: Device, name: FamilyName): Promise<Family> {
  const { rar, var: other } = set.manifest.families;
  if (name === "rar") {
    const source = await openEntry(set.dir, rar.tokenizer, tokenizerSpecs(rar.tokenizer.config));
    try {
      return await loadRarFamily(device, source, rar.tokenizer.config, tracedWeights);
    } finally {
      source.close();
    }
  }
  const source = await openEntry(set.dir, other.tokenizer, vqvaeSpecs(other.tokenizer.config));
  try {
    return await loadVarFamily(device, source, other.tokenizer.config, tracedWeights);
  } finally {
    source.close();
  }
}

async function openEntry(dir: string, entry: WeightEntry, specs: readonly WeightSpec[]): Promise<TensorSource> {
  if ("synthetic" in entry) {
    return syntheticSource(entry.synthetic.salt, new Map(specs.map((spec) => [spec.name, spec.shape])));
  }
  const source = await openCheckpoint(join(dir, entry.file));
  return entry.prefix === undefined ? source : withPrefix(source, entry.prefix);
}
