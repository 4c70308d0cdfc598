/**
 * The method `joint`: a probability for every label, from the signals of all tokenizers and the likelihoods of all
 * variants. calibration/fit_joint.ts fits the model.
 *
 * Each family has a distance (one_class.ts) from its own images. It is computed from the logarithms of the signals
 * under all tokenizers and from token features under the family's variants. The logarithm of the distance, standardised
 * on images that the distance was not fitted to, is z. P(f | z) is a logistic regression on the z of all families;
 * P(variant | f) is a classifier. Then
 *
 *   P(outlier) : P(family f) = prior / range : (1 - prior) x P(f | z) x normal(smallest z).
 *
 * Outliers have a uniform density over `range` deviations of z. Only how far val's outliers reach is used, not where
 * they lie: other generators lie elsewhere, perhaps nearer to a family. The share of outliers is a prior that the user
 * sets.
 */
import type { FamilyName } from "../../../models/family.ts";
import { type FeatureRow, pickColumns } from "../../evidence/features.ts";
import { type Label, mapFamilies, outlierLabel } from "../../labels.ts";
import { distanceSignals, familyFirst } from "../family_distance.ts";
import { type Classifier, classify } from "./logistic.ts";
import { type OneClass, oneClassDistance } from "./one_class.ts";
import { classifyRow, type NamedClassifier } from "./variant.ts";

/** Typical token features of a variant's images under the variant itself, in the order of `tokenFeatures`. */
export interface TokenScale {
  /** Means. */
  readonly mean: readonly number[];
  /** Standard deviations, above 0. */
  readonly deviation: readonly number[];
}

/** What the model knows of one family. */
export interface FamilyModel {
  /** P(variant | f). */
  readonly variants: NamedClassifier;
  /** By variant. */
  readonly tokens: Readonly<Record<string, TokenScale>>;
  /** Distance from the family's own images. */
  readonly distance: OneClass;
  /** Mean logarithm of the distance, over images of the family that the distance was not fitted to. */
  readonly mean: number;
  /** Standard deviation of the same, above 0. */
  readonly deviation: number;
}

/** All that the method decides by. */
export interface JointModel {
  /** By family. */
  readonly families: Readonly<Record<FamilyName, FamilyModel>>;
  /** P(f | z), with classes in the order of `families`. */
  readonly family: Classifier;
  /** Width in z of the uniform density of outliers, above 0. */
  readonly range: number;
}

/** Token features in the distance. They are averaged over the family's variants, weighted by P(variant | f). */
export const tokenFeatures = ["guided.mean", "guided.lowest20", "difference.mean", "support.rate"] as const;

/** z is clipped to this. */
const farthest = 1e3;
/** The share of outliers that is expected unless the user says otherwise. */
export const defaultOutlierPrior = 0.2;

/**
 * What the distance of a family is computed from: the logarithms of the signals under all tokenizers, in the given
 * order of families, and the token features under the family's variants.
 */
export function distanceRow(
  { variants, tokens }: Pick<FamilyModel, "variants" | "tokens">,
  order: readonly FamilyName[],
  row: FeatureRow,
): number[] {
  const columns = order.flatMap((family) => distanceSignals.map((signal) => `${family}.${signal}`));
  const mixed = tokenFeatures.map(() => 0);
  for (const [label, p] of Object.entries(classifyRow(variants, row))) {
    const { mean, deviation } = tokens[label];
    pickColumns(row, tokenFeatures.map((feature) => `${label}.${feature}`), "joint")
      .forEach((value, j) => mixed[j] += p * (value - mean[j]) / deviation[j]);
  }
  return [...pickColumns(row, columns, "joint").map((value) => Math.log(Math.max(value, 1e-12))), ...mixed];
}

/** The logarithm of an image's distance from a family. `order` has that family first. */
export function logDistance(
  model: Pick<FamilyModel, "variants" | "tokens" | "distance">,
  order: readonly FamilyName[],
  row: FeatureRow,
): number {
  return Math.log(Math.max(oneClassDistance(model.distance, distanceRow(model, order, row)), 1e-12));
}

/** z: the logarithm of the distance in standard deviations, clipped. */
export function standardised(
  { mean, deviation }: Pick<FamilyModel, "mean" | "deviation">,
  logDistance: number,
): number {
  return Math.min((logDistance - mean) / deviation, farthest);
}

/** Input of the logistic regression. It compresses large z, so that distances of far families do not dominate. */
export function compressed(z: number): number {
  return Math.sign(z) * Math.log1p(Math.abs(z));
}

/**
 * z of an image for every family, in standard deviations: about 0 for the family's own images, larger for a worse fit.
 */
export function jointDistances(model: JointModel, row: FeatureRow): Record<FamilyName, number> {
  const names = Object.keys(model.families);
  return mapFamilies(names, (name) => {
    const family = model.families[name];
    return standardised(family, logDistance(family, familyFirst(name, names), row));
  });
}

/**
 * Probabilities of all labels, which add up to 1. `outlierPrior` is the expected share of outliers; throws a RangeError
 * unless it is above 0 and below 1.
 */
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
  const smallest = Math.min(...Object.values(z));
  // An image nearer than typical is no more of an outlier than a typical one.
  const inside = -(Math.max(smallest, 0) ** 2) / 2 - Math.log(Math.sqrt(2 * Math.PI));
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
 * The label for these probabilities: `outlier` if its probability is above 0.5, else the likeliest variant. So a
 * generated image is not called an outlier only because its probability is spread over several variants.
 */
export function jointLabel(scores: Readonly<Record<Label, number>>): Label {
  if (scores[outlierLabel] > 0.5) return outlierLabel;
  const variants = Object.keys(scores).filter((label) => label !== outlierLabel);
  return variants.reduce((a, b) => (scores[b] > scores[a] ? b : a));
}
