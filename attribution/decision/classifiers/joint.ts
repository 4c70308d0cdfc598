/**
 * One decision over all evidence: a probability per label from the signals of all tokenizers and the likelihoods of all
 * variants. What an outlier looks like is not learnt; how many there are is a prior that the user sets.
 *
 * Per family, a distance (one_class.ts) of the logarithms of the signals under all tokenizers, and of what its own
 * variants say about the tokens, from the family's own images. Standardised on images that it was not fitted to, it is z.
 *   P(outlier) : P(family f) = prior x 1 / range : (1 - prior) x P(f | z) x normal(least z),
 * outliers being as likely at any distance within `range` standard deviations: a flat density makes no use of where val's
 * outliers lie, other than how far out (range); near the family there may be others that val has none of. P(f | z) is a logistic regression on z of all families, P(variant | f) a classifier.
 */
import type { FamilyName } from "../../../models/family.ts";
import { type FeatureRow, pickColumns } from "../../evidence/features.ts";
import { type Label, mapFamilies, outlierLabel } from "../../labels.ts";
import { distanceSignals, familyFirst } from "../family_distance.ts";
import { type Classifier, classify } from "./logistic.ts";
import { type OneClass, oneClassDistance } from "./one_class.ts";
import { classifyRow, type NamedClassifier } from "./variant.ts";

/** Per family, in the order of its variants: typical values of token features of each one's own images. */
export interface TokenScale {
  readonly mean: readonly number[];
  readonly deviation: readonly number[];
}

export interface FamilyModel {
  readonly variants: NamedClassifier;
  /** By label. */
  readonly tokens: Readonly<Record<string, TokenScale>>;
  readonly distance: OneClass;
  /** Mean and standard deviation of the logarithm of the distance of own images that it was not fitted to. */
  readonly mean: number;
  readonly deviation: number;
}

export interface JointModel {
  readonly families: Readonly<Record<FamilyName, FamilyModel>>;
  /** Which family, from z of each. */
  readonly family: Classifier;
  /** Standard deviations of z over which outliers are spread. */
  readonly range: number;
}

/** Of the family's variants, each standardised by its own images and mixed by the variants' probabilities. */
export const tokenFeatures = ["guided.mean", "guided.lowest20", "difference.mean", "support.rate"] as const;

/** z of an image counts as this at most. */
const farthest = 1e3;
export const defaultOutlierPrior = 0.2;

/** What the distance of a family is of: signals under all tokenizers, its own first, and what its variants say. */
export function distanceRow(
  { variants, tokens }: Pick<FamilyModel, "variants" | "tokens">,
  order: readonly FamilyName[],
  row: FeatureRow,
): number[] {
  const columns = order.flatMap((family) => distanceSignals.map((signal) => `${family}.${signal}`));
  const own = classifyRow(variants, row);
  const mixed = tokenFeatures.map(() => 0);
  for (const [label, p] of Object.entries(own)) {
    const { mean, deviation } = tokens[label];
    pickColumns(row, tokenFeatures.map((feature) => `${label}.${feature}`), "joint")
      .forEach((value, j) => mixed[j] += p * (value - mean[j]) / deviation[j]);
  }
  return [...pickColumns(row, columns, "joint").map((value) => Math.log(Math.max(value, 1e-12))), ...mixed];
}

export function logDistance(
  model: Pick<FamilyModel, "variants" | "tokens" | "distance">,
  order: readonly FamilyName[],
  row: FeatureRow,
): number {
  return Math.log(Math.max(oneClassDistance(model.distance, distanceRow(model, order, row)), 1e-12));
}

export function standardised(
  { mean, deviation }: Pick<FamilyModel, "mean" | "deviation">,
  logDistance: number,
): number {
  return Math.min((logDistance - mean) / deviation, farthest);
}

/** Keeps the logistic regression from being ruled by how far the other families are. */
export function compressed(z: number): number {
  return Math.sign(z) * Math.log1p(Math.abs(z));
}

/** z of an image for each family: 0 for a typical own image, larger for a worse fit, in standard deviations. */
export function jointDistances(model: JointModel, row: FeatureRow): Record<FamilyName, number> {
  const names = Object.keys(model.families);
  return mapFamilies(names, (name) => {
    const family = model.families[name];
    return standardised(family, logDistance(family, familyFirst(name, names), row));
  });
}

/** Probabilities of all labels, given the share of outliers that is expected, above 0 and below 1. */
export function jointScores(
  model: JointModel,
  row: FeatureRow,
  outlierPrior = defaultOutlierPrior,
): Record<Label, number> {
  if (!(outlierPrior > 0 && outlierPrior < 1)) {
    throw new RangeError(`joint: expected an outlier prior between 0 and 1, got ${outlierPrior}`);
  }
  const z = jointDistances(model, row);
  const names = Object.keys(model.families);
  const families = classify(model.family, names.map((name) => compressed(z[name])));
  const least = Math.min(...Object.values(z));
  // Nearer than typical is no sign of an outlier.
  const inside = -(Math.max(least, 0) ** 2) / 2 - Math.log(Math.sqrt(2 * Math.PI));
  const outside = -Math.log(model.range);
  const logs: [Label, number][] = names.flatMap((name, f) =>
    Object.entries(classifyRow(model.families[name].variants, row)).map(([label, p]): [Label, number] => [
      label,
      Math.log(1 - outlierPrior) + inside + Math.log(Math.max(families[f] * p, 1e-300)),
    ])
  );
  logs.push([outlierLabel, Math.log(outlierPrior) + outside]);
  const most = Math.max(...logs.map(([, value]) => value));
  const powers = logs.map(([label, value]): [Label, number] => [label, Math.exp(value - most)]);
  const total = powers.reduce((sum, [, power]) => sum + power, 0);
  return Object.fromEntries(powers.map(([label, power]) => [label, power / total]));
}

/**
 * The label of these probabilities: outlier where that is likelier than not, else the likeliest variant. An image that is
 * surely generated is not called an outlier because its variants are hard to tell apart.
 */
export function jointLabel(scores: Readonly<Record<Label, number>>): Label {
  if (scores[outlierLabel] > 0.5) return outlierLabel;
  const variants = Object.keys(scores).filter((label) => label !== outlierLabel);
  return variants.reduce((a, b) => (scores[b] > scores[a] ? b : a));
}
