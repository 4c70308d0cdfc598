/**
 * Training data that is drawn from a model set's own transformers: pairs of the family when they are asked for, and a few
 * images of another family to compare with. How images are drawn is generation/'s business.
 */
import type { Device } from "../core/tensor/mod.ts";
import type { ModelSet } from "../models/model_set.ts";
import { SampledPairs } from "./generated_pairs.ts";
import { batches, breathe, leastOthers } from "./evaluate.ts";
import { split } from "./order.ts";
import type { Pair, PairSource, TrainingData } from "./pairs.ts";
import type { Recipe } from "./recipe.ts";

/** What is drawn, and within which means. */
export interface SampleSettings {
  /** Pairs in all; they go round the variants, with random classes. */
  readonly count: number;
  /** Of the family; all of them when null. */
  readonly variants: readonly string[] | null;
  /** Device memory for the networks that draw and what they compute. */
  readonly memoryBytes: number;
  /** Of the transformers that draw. */
  readonly weightType: "f32" | "f16";
}

export const sampleDefaults: Omit<SampleSettings, "count"> = {
  variants: null,
  memoryBytes: 4 * 2 ** 30,
  weightType: "f32",
};

/** Data that holds networks until it is disposed. */
export interface SampledData extends TrainingData {
  dispose(): void;
}

/**
 * Draws another family's images, where the set has one, whose networks are freed again, and opens the family's pairs. The recipe's seed decides
 * both; its share of held-out pairs is kept away from training as everywhere.
 */
export async function openSampledData(
  set: ModelSet,
  device: Device,
  { family, seed, holdout }: Recipe,
  { count, variants, memoryBytes, weightType }: SampleSettings,
  onPrepare?: (text: string) => void,
): Promise<SampledData> {
  // Before another family's images are drawn, which takes a while.
  const wrong = variants?.find((variant) => set.familyOf(variant) !== family);
  if (wrong !== undefined) throw new Error(`--variants: expected variants of the family ${family}, got ${wrong}`);
  const wanted = Math.max(leastOthers, split(count, holdout, seed).heldOut.length);
  const other = set.families.find((name) => name !== family);
  const common = { seed: seed % 2 ** 32, memoryBytes, weightType, onPrepare };
  const others = other === undefined
    ? null
    : await drawAll(await SampledPairs.open(set, device, { ...common, family: other, count: wanted }), onPrepare);
  const pairs = await SampledPairs.open(set, device, {
    ...common,
    family,
    count,
    ...variants && { variants },
  });
  return { pairs, others, dispose: () => pairs.dispose() };
}

/** All pairs of a source, kept; the source is disposed. */
async function drawAll(source: SampledPairs, onPrepare?: (text: string) => void): Promise<PairSource> {
  try {
    const { count, partial, fingerprint } = source;
    const kept: Pair[] = [];
    for (const indices of batches(Array.from({ length: count }, (_, i) => i), leastOthers)) {
      onPrepare?.(`drawing images to compare with: ${kept.length} of ${count}`);
      await breathe();
      kept.push(...await source.batch(indices));
    }
    return { count, partial, fingerprint, batch: (indices) => Promise.resolve(indices.map((i) => kept[i])) };
  } finally {
    source.dispose();
  }
}
