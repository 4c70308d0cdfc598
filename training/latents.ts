/** Measures the latent statistics of an encoder (attribution/signals/latent_meter.ts) on held-out pairs. */
import { disposeAll } from "../core/tensor/mod.ts";
import type { LatentStatistics } from "../models/latent_statistics.ts";
import { LatentMeter } from "../attribution/signals/latent_meter.ts";
import { batches, breathe } from "./evaluate.ts";
import type { PairSource } from "./pairs.ts";
import type { Trainee } from "./trainee.ts";

/**
 * Measures the statistics on the pairs `indices`. Returns null for a family with one token per position, which needs
 * none, without pairs, and when tokens of some pairs are unknown.
 */
export async function measureLatents(
  trainee: Trainee,
  pairs: PairSource,
  indices: readonly number[],
  batch: number,
): Promise<LatentStatistics | null> {
  const { tokenizer } = trainee;
  if (tokenizer.residual === null || pairs.partial || indices.length === 0) return null;
  const meter = new LatentMeter(tokenizer);
  for (const some of batches(indices, batch)) {
    await breathe();
    const batchPairs = await pairs.batch(some);
    const tokens = batchPairs.map((pair) => pair.tokens!);
    const [images, targets] = [trainee.images(batchPairs.map((pair) => pair.pixels)), trainee.targets(tokens)];
    await meter.add(images, targets, tokens);
    disposeAll([images, targets]);
  }
  return meter.statistics();
}
