/** Fits the method `joint`. decision/classifiers/joint.ts explains the model. */
import type { FamilyName } from "../../models/family.ts";
import {
  compressed,
  distanceRow,
  type FamilyModel,
  jointDistances,
  type JointModel,
  logDistance,
  standardised,
  tokenFeatures,
  type TokenScale,
} from "../decision/classifiers/joint.ts";
import type { NamedClassifier } from "../decision/classifiers/variant.ts";
import { familyFirst } from "../decision/family_distance.ts";
import { pickColumns } from "../evidence/features.ts";
import { type Label, type Labels, mapFamilies, outlierLabel } from "../labels.ts";
import { meanAndDeviation, quantile } from "../metrics/mod.ts";
import { fitClassifier, stratifiedFolds } from "./fit_classifier.ts";
import { fitOneClass } from "./fit_one_class.ts";
import { fitVariants, type LabelledRow } from "./fit_variants.ts";

/** `range` without outliers to fit it to, and the fewest outliers that it is fitted to. */
const defaultRange = 10, fewestOutliers = 20;
const folds = 5;

/**
 * Fits to images of the variants, at least four of each. Outliers among the rows, twenty or more, only set `range`: the
 * 95th percentile of their z. Neither their number nor where they lie within that range makes a difference.
 */
export function fitJoint(all: readonly LabelledRow[], labels: Labels): JointModel {
  const { families: names } = labels;
  const rows = all.filter(({ label }) => label !== outlierLabel);
  const part = stratifiedFolds(rows.map(({ label }) => label), folds);
  const fits = mapFamilies(names, (name) => fitFamily(rows, part, name, labels));
  const families = mapFamilies(names, (name) => fits[name].model);
  const zs = rows.map((_, i) => names.map((name) => standardised(families[name], fits[name].distances[i])));
  const truth = rows.map(({ label }) => names.indexOf(labels.familyOf(label)!));
  const { model, l2, temperature } = fitClassifier(zs.map((z) => z.map(compressed)), truth, names.length);
  const family = { model, l2, temperature: Math.max(1, temperature) };
  const fitted: JointModel = { families, family, range: defaultRange };
  const outlierDistances = all.filter(({ label }) => label === outlierLabel)
    .map(({ row }) => Math.min(...Object.values(jointDistances(fitted, row))));
  if (outlierDistances.length < fewestOutliers) return fitted;
  return { ...fitted, range: Math.max(3, quantile(outlierDistances, 0.95)) };
}

/**
 * One family's model, and the logarithm of every row's distance from the family by a model that was fitted without the
 * row's fold.
 */
function fitFamily(
  rows: readonly LabelledRow[],
  part: readonly number[],
  name: FamilyName,
  labels: Labels,
): { model: FamilyModel; distances: readonly number[] } {
  const order = familyFirst(name, labels.families);
  const isOwn = ({ label }: LabelledRow) => labels.familyOf(label) === name;
  // Columns and penalty are chosen once, on all rows. The folds share the classifier.
  const { classifier } = fitVariants(rows.filter(isOwn), labels.variants[name]);
  const distances = rows.map(() => 0);
  for (let fold = 0; fold < folds; fold++) {
    const model = fitDistance(rows.filter((item, i) => isOwn(item) && part[i] !== fold), classifier, order);
    rows.forEach(({ row }, i) => {
      if (part[i] === fold) distances[i] = logDistance(model, order, row);
    });
  }
  const { mean, deviation } = meanAndDeviation(distances.filter((_, i) => isOwn(rows[i])));
  const model = fitDistance(rows.filter(isOwn), classifier, order);
  return { model: { ...model, mean, deviation: Math.max(deviation, leastDeviation) }, distances };
}

/** The distance from a family, fitted to images of its variants. `order` has that family first. */
function fitDistance(
  rows: readonly LabelledRow[],
  variants: NamedClassifier,
  order: readonly FamilyName[],
): Omit<FamilyModel, "mean" | "deviation"> {
  const tokens: Record<string, TokenScale> = {};
  for (const label of variants.labels) {
    tokens[label] = fitTokenScale(rows.filter((item) => item.label === label), label);
  }
  const base = { variants, tokens };
  return { ...base, distance: fitOneClass(rows.map(({ row }) => distanceRow(base, order, row))) };
}

/** Deviations are at least this, so that equal values can be divided by them. */
const leastDeviation = 1e-6;

/** Typical token features of a variant's images under the variant itself. */
function fitTokenScale(rows: readonly LabelledRow[], label: Label): TokenScale {
  const names = tokenFeatures.map((name) => `${label}.${name}`);
  const values = rows.map(({ row }) => pickColumns(row, names, "joint"));
  const columns = names.map((_, j) => meanAndDeviation(values.map((row) => row[j])));
  return {
    mean: columns.map(({ mean }) => mean),
    deviation: columns.map(({ deviation }) => Math.max(deviation, leastDeviation)),
  };
}
