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
import { quantile } from "../../metrics/mod.ts";
import { type FeatureRow, pickColumns } from "../../evidence/features.ts";
import { type Label, type Labels, mapFamilies, outlierLabel } from "../../labels.ts";
import { type Classifier, classify, fitClassifier, stratifiedFolds } from "./fit.ts";
import { fitOneClass, type OneClass, oneClassDistance } from "./one_class.ts";
import { classifyRow, fitVariants, type LabelledRow, type NamedClassifier } from "./variant.ts";

/** Per family, in the order of its variants: typical values of token features of each one's own images. */
interface TokenScale {
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

/** Logarithms of these, under all tokenizers. */
const signals = ["quantLoss", "quantErrorTail", "encLoss", "encLossUncalibrated"] as const;
/** Of the family's variants, each standardised by its own images and mixed by the variants' probabilities. */
const tokenFeatures = ["guided.mean", "guided.lowest20", "difference.mean", "support.rate"] as const;

/** The range without outliers to tell it, and the fewest that do. */
const defaultRange = 10, fewestOutliers = 20;
/** z of an image counts as this at most. */
const farthest = 1e3;
export const defaultOutlierPrior = 0.2;

/**
 * Fits to rows of members, at least four of every variant. Outliers among the rows (twenty or more) say how far outliers
 * reach, the most that is typical of them; how many they are and where within that range they lie makes no difference.
 */
export function fitJoint(all: readonly LabelledRow[], labels: Labels): JointModel {
  const { families: names } = labels;
  const rows = all.filter(({ label }) => label !== outlierLabel);
  const familyModel = (
    name: FamilyName,
    own: readonly LabelledRow[],
    variants: NamedClassifier,
  ): Omit<FamilyModel, "mean" | "deviation"> => {
    const tokens: Record<string, TokenScale> = {};
    for (const label of labels.variants[name]) {
      tokens[label] = tokenScale(own.filter((item) => item.label === label), label);
    }
    const base = { variants, tokens };
    return { ...base, distance: fitOneClass(own.map(({ row }) => distanceRow(base, ownFirst(name, names), row))) };
  };
  const families = {} as Record<FamilyName, FamilyModel>;
  // Columns and penalties are chosen once, on everything; the folds below fit again with them.
  const folds = 5;
  const part = stratifiedFolds(rows.map(({ label }) => label), folds);
  const distances = rows.map(() => ({}) as Record<FamilyName, number>);
  for (const name of names) {
    const isOwn = ({ label }: LabelledRow) => labels.familyOf(label) === name;
    const own = rows.filter(isOwn);
    const { classifier } = fitVariants(own, labels.variants[name]);
    for (let fold = 0; fold < folds; fold++) {
      const model = familyModel(name, rows.filter((item, i) => isOwn(item) && part[i] !== fold), classifier);
      rows.forEach(({ row }, i) => {
        if (part[i] === fold) distances[i][name] = logDistance(model, ownFirst(name, names), row);
      });
    }
    const held = rows.flatMap((item, i) => isOwn(item) ? [distances[i][name]] : []);
    const mean = held.reduce((a, b) => a + b) / held.length;
    const variance = held.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (held.length - 1);
    families[name] = { ...familyModel(name, own, classifier), mean, deviation: Math.max(Math.sqrt(variance), 1e-6) };
  }
  const zs = distances.map((each) => names.map((name) => standardised(families[name], each[name])));
  const truth = rows.map(({ label }) => names.indexOf(labels.familyOf(label)!));
  const { model, l2, temperature } = fitClassifier(zs.map((z) => z.map(compressed)), truth, names.length);
  const family = { model, l2, temperature: Math.max(1, temperature) };
  const fitted: JointModel = { families, family, range: defaultRange };
  const reach = all.filter(({ label }) => label === outlierLabel)
    .map(({ row }) => Math.min(...Object.values(jointDistances(fitted, row))));
  return reach.length < fewestOutliers ? fitted : { ...fitted, range: Math.max(3, quantile(reach, 0.95)) };
}

function tokenScale(own: readonly LabelledRow[], label: Label): TokenScale {
  const values = own.map(({ row }) => pickColumns(row, tokenFeatures.map((name) => `${label}.${name}`), "joint"));
  const mean = tokenFeatures.map((_, j) => values.reduce((sum, row) => sum + row[j], 0) / values.length);
  const deviation = mean.map((m, j) =>
    Math.max(Math.sqrt(values.reduce((sum, row) => sum + (row[j] - m) ** 2, 0) / Math.max(1, values.length - 1)), 1e-6)
  );
  return { mean, deviation };
}

/** The families with one of them first. */
function ownFirst(name: FamilyName, families: readonly FamilyName[]): readonly FamilyName[] {
  return [name, ...families.filter((other) => other !== name)];
}

/** What the distance of a family is of: signals under all tokenizers, its own first, and what its variants say. */
function distanceRow(
  { variants, tokens }: Pick<FamilyModel, "variants" | "tokens">,
  order: readonly FamilyName[],
  row: FeatureRow,
): number[] {
  const columns = order.flatMap((family) => signals.map((signal) => `${family}.${signal}`));
  const own = classifyRow(variants, row);
  const mixed = tokenFeatures.map(() => 0);
  for (const [label, p] of Object.entries(own)) {
    const { mean, deviation } = tokens[label];
    pickColumns(row, tokenFeatures.map((feature) => `${label}.${feature}`), "joint")
      .forEach((value, j) => mixed[j] += p * (value - mean[j]) / deviation[j]);
  }
  return [...pickColumns(row, columns, "joint").map((value) => Math.log(Math.max(value, 1e-12))), ...mixed];
}

function logDistance(
  model: Pick<FamilyModel, "variants" | "tokens" | "distance">,
  order: readonly FamilyName[],
  row: FeatureRow,
): number {
  return Math.log(Math.max(oneClassDistance(model.distance, distanceRow(model, order, row)), 1e-12));
}

function standardised({ mean, deviation }: Pick<FamilyModel, "mean" | "deviation">, logDistance: number): number {
  return Math.min((logDistance - mean) / deviation, farthest);
}

/** Keeps the logistic regression from being ruled by how far the other families are. */
function compressed(z: number): number {
  return Math.sign(z) * Math.log1p(Math.abs(z));
}

/** z of an image for each family: 0 for a typical own image, larger for a worse fit, in standard deviations. */
export function jointDistances(model: JointModel, row: FeatureRow): Record<FamilyName, number> {
  const names = Object.keys(model.families);
  return mapFamilies(names, (name) => {
    const family = model.families[name];
    return standardised(family, logDistance(family, ownFirst(name, names), row));
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
