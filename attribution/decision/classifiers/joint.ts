/**
 * The method `joint`: a probability for every label, from the signals of all tokenizers and the likelihoods of all
 * variants. calibration/fit_joint.ts fits the model.
 *
 * For each family f there are three readings of an image: the ratio T_f of the likelihood of what was measured if the
 * image has f's traces against that if it has none; P(variant | f); and the ratio K_f of a known variant against
 * another transformer on the same tokenizer. An image can be read in several poses g, with weights w_g. Then
 *
 *   P(outlier) : P(g, stranger on f) : P(g, variant of f) =
 *     prior (1 - s) : prior s w_g T_f / (F K_f) : (1 - prior) w_g T_f P(variant | f) / F
 *
 * where F is the number of families that judge the image, those of its size, and s the share of outliers that are strangers' images. The share of outliers is a
 * prior that the user sets. Source of the form of T_f: logistic regression as a likelihood ratio, e.g. Morrison (2013),
 * "Tutorial on logistic-regression calibration and fusion".
 */
import type { FamilyName } from "../../../models/family.ts";
import { type FeatureRow, pickColumns } from "../../evidence/features.ts";
import { type Label, mapFamilies, outlierLabel } from "../../labels.ts";
import { distanceSignals, familyFirst } from "../family_distance.ts";
import { untouched } from "./history.ts";
import { type KnownModel, knownRatio } from "./known.ts";
import { calibratedRatio, type LogRatio, ratioScore, type Scale } from "./log_ratio.ts";
import { classifyRow, type NamedClassifier } from "./variant.ts";

/** What the model knows of one family. */
export interface FamilyModel {
  /** P(variant | f). */
  readonly variants: NamedClassifier;
  /** By variant: typical values of `tokenFeatures` under it, of its own images. */
  readonly tokens: Readonly<Record<string, Scale>>;
  /** Traces of the family against none, from the numbers of `signalNumbers`, without running a transformer. */
  readonly signals: LogRatio;
  /** The same from the numbers of `traceNumbers`. */
  readonly trace: LogRatio;
  /** A known variant against a stranger. Absent for a family with one variant. */
  readonly known?: KnownModel;
}

/** All that the method decides by. */
export interface JointModel {
  /** By family. */
  readonly families: Readonly<Record<FamilyName, FamilyModel>>;
}

/** Token features in the trace. They are averaged over the family's variants, weighted by P(variant | f). */
export const tokenFeatures = ["guided.mean", "guided.lowest20", "difference.mean", "support.rate"] as const;

/** The share of outliers that is expected unless the user says otherwise. */
export const defaultOutlierPrior = 0.2;
/** The share of outliers that a known tokenizer decoded, but no known transformer drew. */
export const strangerShare = 0.25;

/**
 * A family with a lower ln ratio by signals alone is closed: its transformers are not run, as they could not change the
 * verdict (docs/classification.md).
 */
export const leastOpenRatio = -3;

/** The logarithms of four signals under all tokenizers of the image's size, in the given order of families. */
export function signalNumbers(order: readonly FamilyName[], row: FeatureRow): number[] {
  const columns = order.flatMap((family) => distanceSignals.map((signal) => `${family}.${signal}`));
  return pickColumns(row, columns, "joint").map((value) => Math.log(Math.max(value, 1e-12)));
}

/**
 * What traces of a family are told by: the signals, and the token features under the family's variants.
 */
export function traceNumbers(
  { variants, tokens }: Pick<FamilyModel, "variants" | "tokens">,
  order: readonly FamilyName[],
  row: FeatureRow,
): number[] {
  const mixed = tokenFeatures.map(() => 0);
  for (const [label, p] of Object.entries(classifyRow(variants, row))) {
    const { mean, deviation } = tokens[label];
    pickColumns(row, tokenFeatures.map((feature) => `${label}.${feature}`), "joint")
      .forEach((value, j) => mixed[j] += p * (value - mean[j]) / deviation[j]);
  }
  return [...signalNumbers(order, row), ...mixed];
}

/** What the features of an image say for one family. */
export interface Reading {
  /** ln of the likelihood ratio of the family's traces against none. */
  readonly trace: number;
  /** ln of the likelihood ratio of a known variant against a stranger. */
  readonly known: number;
  /** P(variant | f). */
  readonly variants: Readonly<Record<Label, number>>;
}

/** The readings of an image in one pose, for every family that judges it. */
export type Readings = Readonly<Record<FamilyName, Reading>>;

/** The families whose signals a row has: those that judge images of the size. */
export function judgingFamilies(names: readonly FamilyName[], row: FeatureRow): readonly FamilyName[] {
  return names.filter((name) => `${name}.${distanceSignals[0]}` in row);
}

/** ln of the likelihood ratio of a family's traces against none, by the signals alone. */
function signalRatio(model: JointModel, name: FamilyName, row: FeatureRow, kind: string): number {
  const names = judgingFamilies(Object.keys(model.families), row);
  const { signals } = model.families[name], order = familyFirst(name, names);
  return calibratedRatio(signals, ratioScore(signals, signalNumbers(order, row)), kind);
}

/** The families that the signals of an image leave open: their variants must score it. `row` needs signals alone. */
export function openFamilies(model: JointModel, row: FeatureRow, kind = untouched): readonly FamilyName[] {
  return judgingFamilies(Object.keys(model.families), row)
    .filter((name) => signalRatio(model, name, row, kind) >= leastOpenRatio);
}

/** The reading of a closed family: nothing is known of its variants. */
export function closedReading(trace: number, variants: readonly Label[]): Reading {
  return { trace, known: 0, variants: Object.fromEntries(variants.map((label) => [label, 1 / variants.length])) };
}

/**
 * Reads the features of an image with this kind of history (history.ts), for the families that judge it. Of a closed
 * family, likelihoods do not count, even if they were measured.
 */
export function readFeatures(model: JointModel, row: FeatureRow, kind = untouched): Readings {
  const names = judgingFamilies(Object.keys(model.families), row);
  return mapFamilies(names, (name) => {
    const family = model.families[name], { trace, known } = family;
    const bySignals = signalRatio(model, name, row, kind);
    if (bySignals < leastOpenRatio) return closedReading(bySignals, family.variants.labels);
    const variants = classifyRow(family.variants, row);
    const score = ratioScore(trace, traceNumbers(family, familyFirst(name, names), row));
    return {
      trace: calibratedRatio(trace, score, kind),
      known: known === undefined ? 0 : knownRatio(known, largest(variants), row, kind),
      variants,
    };
  });
}

/** The entry with the largest value; of equal ones the first. */
export function largest(values: Readonly<Record<string, number>>): string {
  return Object.entries(values).reduce((a, b) => (b[1] > a[1] ? b : a))[0];
}

/** The readings of a pose, with its weight. */
export interface Posed {
  readonly weight: number;
  readonly readings: Readings;
}

/** Probabilities after the evidence. All of `scores` and `strangers` add up to 1. */
export interface Posterior {
  /** Of every variant of these families, then `outlier`, which has the probability of no traces alone. */
  readonly scores: Readonly<Record<Label, number>>;
  /** By family: that a stranger on its tokenizer made the image. */
  readonly strangers: Readonly<Record<FamilyName, number>>;
  /** ln of the likelihood ratio of the likeliest family's known variants against all else that is an outlier. */
  readonly lnRatio: number;
  /** Index of the pose that contributes most to the likeliest family. */
  readonly pose: number;
}

/**
 * Combines the readings of an image in one pose or more. `outlierPrior` is the expected share of outliers; throws a
 * RangeError unless it is above 0 and below 1.
 */
export function posterior(poses: readonly Posed[], outlierPrior = defaultOutlierPrior): Posterior {
  if (!(outlierPrior > 0 && outlierPrior < 1)) {
    throw new RangeError(`joint: expected an outlier prior between 0 and 1, got ${outlierPrior}`);
  }
  const names = Object.keys(poses[0].readings);
  const ratios = mapFamilies(
    names,
    (name) => poses.map(({ weight, readings }) => weight * Math.exp(readings[name].trace)),
  );
  const total = (values: readonly number[]) => values.reduce((a, b) => a + b, 0);
  const strangers = mapFamilies(
    names,
    (name) =>
      total(ratios[name].map((ratio, g) => ratio * Math.exp(-poses[g].readings[name].known))) * strangerShare /
      names.length,
  );
  const nothing = 1 - strangerShare;
  const against = nothing + total(Object.values(strangers));
  const scores: Record<Label, number> = {};
  for (const name of names) {
    for (const label of Object.keys(poses[0].readings[name].variants)) {
      const sum = total(ratios[name].map((ratio, g) => ratio * poses[g].readings[name].variants[label]));
      scores[label] = (1 - outlierPrior) * sum / names.length;
    }
  }
  scores[outlierLabel] = outlierPrior * nothing;
  const norm = (1 - outlierPrior) * total(names.map((name) => total(ratios[name]) / names.length)) +
    outlierPrior * against;
  const best = names.reduce((a, b) => (total(ratios[b]) > total(ratios[a]) ? b : a));
  return {
    scores: Object.fromEntries(Object.entries(scores).map(([label, value]) => [label, value / norm])),
    strangers: mapFamilies(names, (name) => outlierPrior * strangers[name] / norm),
    lnRatio: Math.log(total(ratios[best]) / against),
    pose: ratios[best].reduce((most, ratio, g) => (ratio > ratios[best][most] ? g : most), 0),
  };
}
