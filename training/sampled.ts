/**
 * Training data drawn from the transformers of a model set: pairs of the family on demand, and a few images of another
 * family for the evaluation.
 */
import type { Device } from "../core/tensor/mod.ts";
import type { ModelSet } from "../models/model_set.ts";
import { SampledPairs } from "./generated_pairs.ts";
import { batches, breathe, leastOthers } from "./evaluate.ts";
import { split } from "./order.ts";
import type { Pair, PairSource, TrainingData } from "./pairs.ts";
import type { Recipe } from "./recipe.ts";

/** What to draw, and within which memory. */
export interface SampleSettings {
  /** Number of pairs. Variants take turns; classes are random. */
  readonly count: number;
  /** Variants of the family; null for all. */
  readonly variants: readonly string[] | null;
  /** Device memory for the networks that draw, and their activations. */
  readonly memoryBytes: number;
  /** Type in which the weights of these networks are stored. */
  readonly weightType: "f32" | "f16";
}

/** Defaults of `SampleSettings`. */
/** Defaults of `SampleSettings`. */
export const sampleDefaults: Omit<SampleSettings, "count"> = {
  variants: null,
  memoryBytes: 4 * 2 ** 30,
  weightType: "f32",
};

/** Training data with loaded networks; dispose it to free them. */
export interface SampledData extends TrainingData {
  dispose(): void;
}

/**
 * Draws images of another family, if the set has one, frees its networks, and opens the family's pairs. Both depend on
 * the seed of the recipe. Throws when networks do not fit, and on variants of other families.
 */
export async function openSampledData(
  set: ModelSet,
  device: Device,
  { family, seed, holdout }: Recipe,
  { count, variants, memoryBytes, weightType }: SampleSettings,
  onPrepare?: (text: string) => void,
): Promise<SampledData> {
  // Checked first, because drawing images of another family takes a while.
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

/** Draws all pairs of a source into memory, and disposes the source. */
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
