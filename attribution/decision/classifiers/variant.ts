/**
 * Which variant of a family generated an image, from named features: a calibrated classifier, and the own-sample rule
 * as a baseline. calibration/fit_variants.ts fits both.
 */
import { type FeatureRow, pickColumns } from "../../evidence/features.ts";
import { classify, type Logistic } from "./logistic.ts";

/** A classifier with the names of its columns and classes. */
export interface NamedClassifier extends Logistic {
  /** Names of the classes. */
  readonly labels: readonly string[];
  /** Names of the features that it takes. */
  readonly columns: readonly string[];
  /** The L2 penalty that it was fitted with. */
  readonly l2: number;
  /** Log-odds are divided by it before the softmax, above 0. */
  readonly temperature: number;
}

/** Probabilities of a classifier's labels for a row. Throws when the row lacks a feature, naming the first one. */
export function classifyRow(classifier: NamedClassifier, row: FeatureRow): Record<string, number> {
  const values = classify({ ...classifier, model: classifier }, pickColumns(row, classifier.columns, "classifier"));
  return Object.fromEntries(classifier.labels.map((label, k) => [label, values[k]]));
}

/**
 * By variant: mean and standard deviation of `ownSampleFeature` over the variant's images, under the variant itself.
 */
export type OwnSamples = Readonly<Record<string, { readonly mean: number; readonly deviation: number }>>;

/** The summary that the own-sample rule compares, in nats per token. */
export const ownSampleFeature = "guided.mean";

/**
 * Probabilities of the variants by the own-sample rule: the image's likelihood under its variant should be typical of
 * that variant's images. Each variant is weighted by exp(-z^2 / 2), where z is the image's likelihood under the
 * variant, standardised by the variant's images. A variant without samples has probability 0.
 */
export function ownSampleScores(
  samples: OwnSamples,
  variants: readonly string[],
  row: FeatureRow,
): Record<string, number> {
  const distances = variants.map((label) => {
    const sample = samples[label];
    if (sample === undefined) return { label, z: Infinity };
    const [value] = pickColumns(row, [`${label}.${ownSampleFeature}`], "own-sample rule");
    return { label, z: Math.abs(value - sample.mean) / sample.deviation };
  });
  const least = Math.min(...distances.map(({ z }) => z));
  const powers = distances.map(({ z }) => Math.exp(-(z * z - least * least) / 2));
  const total = powers.reduce((a, b) => a + b);
  return Object.fromEntries(distances.map(({ label }, i) => [label, powers[i] / total]));
}
