/**
 * Which variant of a family generated an image, from named features: a calibrated classifier, and the own-sample rule as
 * a baseline. calibration/fit_variants.ts fits both.
 */
import { type FeatureRow, pickColumns } from "../../evidence/features.ts";
import { classify, type Logistic } from "./logistic.ts";

/** A classifier that knows what its columns and classes are called. */
export interface NamedClassifier extends Logistic {
  readonly labels: readonly string[];
  readonly columns: readonly string[];
  readonly l2: number;
  readonly temperature: number;
}

/** Probabilities of a classifier's labels for a row. Throws, naming the first feature that the row lacks. */
export function classifyRow(classifier: NamedClassifier, row: FeatureRow): Record<string, number> {
  const values = classify({ ...classifier, model: classifier }, pickColumns(row, classifier.columns, "classifier"));
  return Object.fromEntries(classifier.labels.map((label, k) => [label, values[k]]));
}

/** Mean and standard deviation of each variant's own images under it, by label. */
export type OwnSamples = Readonly<Record<string, { readonly mean: number; readonly deviation: number }>>;

/** The feature that the own-sample rule looks at. */
export const ownSampleFeature = "guided.mean";

/**
 * Probabilities by the own-sample rule: the likelihood under a variant should be what is typical of that variant's images.
 * Each variant's typical values are taken as normal, all variants as equally frequent; the largest is the smallest |z| but
 * for the deviations' ratio.
 */
export function ownSampleScores(
  samples: OwnSamples,
  variants: readonly string[],
  row: FeatureRow,
): Record<string, number> {
  const logs = variants.map((label) => {
    const own = samples[label];
    if (own === undefined) return { label, z: Infinity };
    const [value] = pickColumns(row, [`${label}.${ownSampleFeature}`], "own-sample rule");
    return { label, z: Math.abs(value - own.mean) / own.deviation };
  });
  const least = Math.min(...logs.map(({ z }) => z));
  const powers = logs.map(({ z }) => Math.exp(-(z * z - least * least) / 2));
  const total = powers.reduce((a, b) => a + b);
  return Object.fromEntries(logs.map(({ label }, i) => [label, powers[i] / total]));
}
