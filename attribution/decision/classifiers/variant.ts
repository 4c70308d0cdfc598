/**
 * Which variant of a family drew an image, from named features: a calibrated classifier over the columns that cross-validation
 * prefers among several sets, and the own-sample rule as a baseline. Rows in, probabilities out.
 */
import { type FeatureRow, pickColumns } from "../../evidence/features.ts";
import { type Label, outlierLabel } from "../../labels.ts";
import { type ClassifierFit, classify, fitClassifier } from "./fit.ts";
import type { Logistic } from "./logistic.ts";

/** A classifier that knows what its columns and classes are called. */
export interface NamedClassifier extends Logistic {
  readonly labels: readonly string[];
  readonly columns: readonly string[];
  readonly l2: number;
  readonly temperature: number;
}

/** A row whose label is known. */
export interface LabelledRow {
  readonly label: Label;
  readonly row: FeatureRow;
}

/**
 * Sets of summaries that are tried, per variant: from the likelihood that images were drawn by, to all of them. `scale<k>.`
 * stands for every scale.
 */
export const columnSets: Readonly<Record<string, readonly string[]>> = {
  guided: ["guided.mean"],
  means: ["guided.mean", "conditional.mean", "unconditional.mean"],
  summaries: [
    ...["guided", "conditional", "unconditional"].flatMap((kind) => [`${kind}.mean`, `${kind}.lowest20`]),
    ...["difference.mean", "rank.logMean", "support.rate"],
  ],
  scales: ["guided.mean", "support.rate", "scale<k>.guided"],
};

/** The columns of a set for all variants of a family, as far as the rows have them. */
function columnsOf(set: readonly string[], variants: readonly string[], row: FeatureRow): string[] {
  const expanded = set.flatMap((name) => {
    if (!name.startsWith("scale<k>.")) return [name];
    const rest = name.slice("scale<k>.".length), first = variants[0];
    return Object.keys(row).filter((own) => own.startsWith(`${first}.scale`) && own.endsWith(`.${rest}`))
      .map((own) => own.slice(first.length + 1));
  });
  return variants.flatMap((label) => expanded.map((name) => `${label}.${name}`));
}

export interface NamedFit {
  readonly classifier: NamedClassifier;
  /** The set of columns that was chosen, and the cross-validated loss of each. */
  readonly chosen: string;
  readonly losses: Readonly<Record<string, number>>;
  /** Log-odds of every row by a classifier that did not see it, already divided by the temperature. */
  readonly crossFitted: readonly (readonly number[])[];
}

/** Fits to the rows of one family, at least two of each of its variants. `sets` are tried in order; the least loss wins. */
export function fitVariants(
  rows: readonly LabelledRow[],
  variants: readonly string[],
  sets: Readonly<Record<string, readonly string[]>> = columnSets,
): NamedFit {
  const y = rows.map(({ label }) => variants.indexOf(label));
  const losses: Record<string, number> = {};
  let best: { chosen: string; columns: string[]; fit: ClassifierFit } | undefined;
  for (const [chosen, set] of Object.entries(sets)) {
    const columns = columnsOf(set, variants, rows[0].row);
    if (best !== undefined && columns.join() === best.columns.join()) continue;
    const fit = fitClassifier(
      rows.map(({ row }) => pickColumns(row, columns, `fit of ${variants[0]} ...`)),
      y,
      variants.length,
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

/** Probabilities of a classifier's labels for a row. Throws, naming the first feature that the row lacks. */
export function classifyRow(classifier: NamedClassifier, row: FeatureRow): Record<string, number> {
  const values = classify({ ...classifier, model: classifier }, pickColumns(row, classifier.columns, "classifier"));
  return Object.fromEntries(classifier.labels.map((label, k) => [label, values[k]]));
}

/** Mean and standard deviation of each variant's own images under it, by label. */
export type OwnSamples = Readonly<Record<string, { readonly mean: number; readonly deviation: number }>>;

/** The feature that the own-sample rule looks at. */
export const ownSampleFeature = "guided.mean";

/** Fits the own-sample rule: what is typical of each variant's own images. Labels with fewer than two rows are left out. */
export function fitOwnSamples(rows: readonly LabelledRow[]): OwnSamples {
  const found: Record<string, { mean: number; deviation: number }> = {};
  for (const [label, own] of Map.groupBy(rows, ({ label }) => label)) {
    if (label === outlierLabel || own.length < 2) continue;
    const values = own.map(({ row }) => pickColumns(row, [`${label}.${ownSampleFeature}`], "own-sample rule")[0]);
    const mean = values.reduce((a, b) => a + b) / values.length;
    const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1);
    found[label] = { mean, deviation: Math.max(Math.sqrt(variance), 1e-9) };
  }
  return found;
}

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
