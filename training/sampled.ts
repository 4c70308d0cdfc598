/**
 * Training data drawn from the transformers of a model set: pairs of the family on demand, and a few images of another
 * family for the evaluation.
 */
import type { Device } from "../core/tensor/mod.ts";
import type { FamilyName } from "../models/family.ts";
import type { ModelSet } from "../models/model_set.ts";
import { usualMemoryLimit } from "../attribution/run/memory_limit.ts";
import { leastGenerationMemory, requireMemory } from "../generation/memory.ts";
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
  /** Device memory for the networks that draw, and their activations; null for `usualSampleMemory`. */
  readonly memoryBytes: number | null;
  /** Type in which the weights of these networks are stored; null for that of their files. */
  readonly weightType: "f32" | "f16" | null;
}

/** Defaults of `SampleSettings`. */
export const sampleDefaults: Omit<SampleSettings, "count"> = { variants: null, memoryBytes: null, weightType: null };

/** Bytes, unless a transformer needs more. */
const usualDrawingMemory = 4 * 2 ** 30;

/** What is drawn from: the variants, and of another family the first one, which is the smallest. */
function drawnVariants(set: ModelSet, family: FamilyName, variants: readonly string[] | null) {
  const other = set.families.find((name) => name !== family);
  const others = other === undefined ? undefined : { family: other, variants: set.variants(other).slice(0, 1) };
  return { own: variants ?? set.variants(family), others };
}

/**
 * Settings with the memory that is used: where none is named, 4 GiB, or what the largest transformer needs by itself,
 * within what the machine has free. Batches depend on it, so a run keeps it. Throws, before anything is drawn, when a
 * transformer does not fit by itself, and on variants of other families.
 */
export async function withSampleMemory(
  set: ModelSet,
  device: Device,
  family: FamilyName,
  settings: SampleSettings,
): Promise<SampleSettings & { readonly memoryBytes: number }> {
  const wrong = settings.variants?.find((variant) => set.familyOf(variant) !== family);
  if (wrong !== undefined) throw new Error(`--variants: expected variants of the family ${family}, got ${wrong}`);
  const weightType = settings.weightType ?? undefined;
  const { own, others } = drawnVariants(set, family, settings.variants);
  const least = leastGenerationMemory(set, device, [...own, ...others?.variants ?? []], weightType);
  const isUsual = settings.memoryBytes === null;
  const bytes = settings.memoryBytes ??
    Math.min(Math.max(usualDrawingMemory, least), await usualMemoryLimit(device, least));
  const chosen = (names: readonly string[]) => `--variants ${names.join(",")}`;
  for (const drawn of [own, others?.variants ?? []]) {
    requireMemory(set, device, drawn, { bytes, isUsual }, weightType, chosen);
  }
  return { ...settings, memoryBytes: bytes };
}

/** Training data with loaded networks; dispose it to free them. */
export interface SampledData extends TrainingData {
  dispose(): void;
}

/**
 * Draws images of another family's smallest variant, if the set has one, frees its networks, and opens the family's pairs.
 * Both depend on the seed of the recipe.
 */
export async function openSampledData(
  set: ModelSet,
  device: Device,
  { family, seed, holdout }: Recipe,
  { count, variants, memoryBytes, weightType }: SampleSettings & { readonly memoryBytes: number },
  onPrepare?: (text: string) => void,
): Promise<SampledData> {
  const wanted = Math.max(leastOthers, split(count, holdout, seed).heldOut.length);
  const drawn = drawnVariants(set, family, variants);
  const common = { seed: seed % 2 ** 32, memoryBytes, weightType: weightType ?? undefined, onPrepare };
  const others = drawn.others === undefined
    ? null
    : await drawAll(await SampledPairs.open(set, device, { ...common, ...drawn.others, count: wanted }), onPrepare);
  const pairs = await SampledPairs.open(set, device, { ...common, family, count, variants: drawn.own });
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
