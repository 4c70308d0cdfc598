/**
 * Fits the classifiers of a family's variants to named features. Cross-validation chooses the columns among several
 * sets.
 */
import { type NamedClassifier, ownSampleFeature, type OwnSamples } from "../decision/classifiers/variant.ts";
import { type FeatureRow, pickColumns } from "../evidence/features.ts";
import { type Label, outlierLabel } from "../labels.ts";
import { meanAndDeviation } from "../metrics/mod.ts";
import { type ClassifierFit, fitClassifier } from "./fit_classifier.ts";
import { fitLogistic } from "./fit_logistic.ts";

/** The features of an image whose label is known. */
export interface LabelledRow {
  /** The true label. */
  readonly label: Label;
  /** The features. */
  readonly row: FeatureRow;
  /** Images that belong together, such as copies of one image. Default: each image is a group. */
  readonly group?: string;
}

/**
 * Sets of summaries (likelihood/summaries.ts) to choose from, applied to every variant. All of them are averaged over
 * the samplers, or do not depend on the sampler, so that they tell variants apart in images drawn with other settings,
 * too. Lowest fifths, ranks and support do not (docs/classification.md).
 */
export const columnSets: Readonly<Record<string, readonly string[]>> = {
  guided: ["guided.mean"],
  means: ["guided.mean", "conditional.mean", "unconditional.mean"],
};

/** A classifier of a family's variants, and how it was chosen. */
export interface NamedFit {
  /** Fitted to all rows. */
  readonly classifier: NamedClassifier;
  /** Name of the chosen set of columns. */
  readonly chosen: string;
  /** Cross-validated loss of each set, in nats. */
  readonly losses: Readonly<Record<string, number>>;
  /** Log-odds [n][variants] of every row by a classifier that was fitted without it, divided by the temperature. */
  readonly crossFitted: readonly (readonly number[])[];
}

/**
 * Fits to images of one family, at least two of each of its variants. The set of columns with the least cross-validated
 * loss wins; of equal ones the first.
 */
export function fitVariants(
  rows: readonly LabelledRow[],
  variants: readonly string[],
  sets: Readonly<Record<string, readonly string[]>> = columnSets,
): NamedFit {
  const y = rows.map(({ label }) => variants.indexOf(label));
  const groups = rows.map(({ group }, i) => group ?? `row ${i}`);
  const losses: Record<string, number> = {};
  let best: { chosen: string; columns: string[]; fit: ClassifierFit } | undefined;
  for (const [chosen, set] of Object.entries(sets)) {
    const columns = variants.flatMap((label) => set.map((name) => `${label}.${name}`));
    const fit = fitClassifier(
      rows.map(({ row }) => pickColumns(row, columns, `fit of ${variants[0]} ...`)),
      y,
      variants.length,
      { groups },
    );
    losses[chosen] = Math.min(...fit.losses.map(({ loss }) => loss));
    if (best === undefined || losses[chosen] < losses[best.chosen]) best = { chosen, columns, fit };
  }
  const { chosen, columns, fit } = best!;
  const { model, l2, temperature, crossFitted } = fit;
  return {
    classifier: { labels: variants, columns, ...model, l2, temperature },
    chosen,
    losses,
    crossFitted: crossFitted.map((odds) => odds.map((value) => value / temperature)),
  };
}

/** A classifier with the columns, penalty and temperature of another one, fitted to other rows. */
export function refitVariants(rows: readonly LabelledRow[], like: NamedClassifier): NamedClassifier {
  const { labels, columns, l2 } = like;
  const values = rows.map(({ row }) => pickColumns(row, columns, `fit of ${labels[0]} ...`));
  const y = rows.map(({ label }) => labels.indexOf(label));
  return { ...like, ...fitLogistic(values, y, labels.length, { l2, tolerance: 1e-6 }) };
}

/** Fits the own-sample rule to images of the variants. Variants with fewer than two images are left out. */
export function fitOwnSamples(rows: readonly LabelledRow[]): OwnSamples {
  const samples: Record<string, { mean: number; deviation: number }> = {};
  for (const [label, sameLabel] of Map.groupBy(rows, ({ label }) => label)) {
    if (label === outlierLabel || sameLabel.length < 2) continue;
    const column = [`${label}.${ownSampleFeature}`];
    const { mean, deviation } = meanAndDeviation(
      sameLabel.map(({ row }) => pickColumns(row, column, "own-sample rule")[0]),
    );
    samples[label] = { mean, deviation: Math.max(deviation, 1e-9) };
  }
  return samples;
}
