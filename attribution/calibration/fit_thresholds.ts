/**
 * Fits thresholds of the three strategies, and the distance of a family's own images, to labelled signals. thresholds.ts
 * cross-fits their error rates and chooses among them.
 */
import type { FamilyName } from "../../models/family.ts";
import type { Calibration, SignalCalibration, Strategy } from "../decision/calibration_file.ts";
import type { Measurements } from "../evidence/evidence.ts";
import { type Label, type Labels, outlierLabel } from "../labels.ts";
import { meanAndDeviation, quantile } from "../metrics/mod.ts";
import type { OneClass } from "../decision/classifiers/one_class.ts";
import { familyScore } from "../decision/family_distance.ts";
import { fromScale, type ScoreName, toScale } from "../signals/table.ts";
import { fitFamilyDistance } from "./fit_one_class.ts";

/** The signals of a labelled image. */
export interface Labelled {
  readonly label: Label;
  readonly families: Measurements["families"];
}

/** Parameters of the strategies, and choices that are fixed. */
export interface FitOptions {
  /** `quantile`: the share of the family's images that pass. Default 0.99. */
  readonly quantile?: number;
  /** `gaussian`: the threshold in standard deviations above the mean. Default 3. */
  readonly sigmas?: number;
  /** `roc`: the share of outliers that may pass. Default 0.01. */
  readonly falseAlarms?: number;
  /** The strategy that decides. Default: chosen by cross-fitting. */
  readonly threshold?: Strategy;
  /** The signal that decides, by family. Default: chosen by cross-fitting. */
  readonly signals?: Readonly<Partial<Record<FamilyName, ScoreName>>>;
}

/** Number of parts of val. Thresholds for one part are fitted to train and the other parts. */
export const folds = 5;

/** Thresholds by family and signal, and what the distances of the families' images are measured with. */
export interface Fitted {
  readonly families: Calibration["families"];
  readonly oneClass: NonNullable<Calibration["oneClass"]>;
}

/** Fits all scores of `names` to the images that a family judges. A threshold is null where there are no images to fit it to. */
export function fitAll(
  all: readonly Labelled[],
  names: readonly ScoreName[],
  labels: Labels,
  options: FitOptions,
): Fitted {
  const oneClass = {} as Record<FamilyName, OneClass>, families = {} as Fitted["families"];
  for (const family of labels.families) {
    const judged = all.filter(({ families }) => family in families);
    const members = judged.filter(({ label }) => labels.familyOf(label) === family);
    const outliers = judged.filter(({ label }) => label === outlierLabel);
    const model = oneClass[family] = fitFamilyDistance(members.map(({ families }) => families), family);
    const memberDistances = crossFittedDistances(members, family);
    const fits = names.map((name) => {
      const score = (item: Labelled) => toScale(name, familyScore(name, item.families, family, model));
      const memberScores = name === "oneClass" ? memberDistances : members.map(score);
      return [name, fitSignal(name, memberScores, outliers.map(score), options)] as const;
    });
    families[family] = Object.fromEntries(fits) as Partial<
      Record<ScoreName, SignalCalibration>
    > as Fitted["families"][string];
  }
  return { families, oneClass };
}

/**
 * Distances of a family's images from models that were fitted without them, on the score's scale. Images that a model
 * was fitted to are nearer to it than new images, for which thresholds are made.
 */
function crossFittedDistances(members: readonly Labelled[], family: FamilyName): number[] {
  const parts = Math.min(folds, Math.floor(members.length / 2));
  const distance = (item: Labelled, model: OneClass) =>
    toScale("oneClass", familyScore("oneClass", item.families, family, model));
  // Fewer than four images cannot be split: a fit needs two.
  if (parts < 2) {
    const model = fitFamilyDistance(members.map(({ families }) => families), family);
    return members.map((item) => distance(item, model));
  }
  const models = Array.from(
    { length: parts },
    (_, part) => {
      const others = members.filter((_, i) => i % parts !== part);
      return fitFamilyDistance(others.map(({ families }) => families), family);
    },
  );
  return members.map((item, i) => distance(item, models[i % parts]));
}

/** Fits one signal to scores, on its scale, of the family's images and of outliers. Both may be empty. */
function fitSignal(
  name: ScoreName,
  members: readonly number[],
  outliers: readonly number[],
  { quantile: q = 0.99, sigmas = 3, falseAlarms = 0.01 }: FitOptions,
): SignalCalibration {
  const moments = members.length < 2 ? { mean: members[0] ?? 0, deviation: 0 } : meanAndDeviation(members);
  // Keeps standardised scores finite if all scores are equal.
  const deviation = Math.max(moments.deviation, 1e-6);
  const row = (value: number, parameter: number) => ({ threshold: fromScale(name, value), parameter });
  return {
    mean: moments.mean,
    deviation,
    thresholds: {
      quantile: members.length === 0 ? null : row(quantile(members, q), q),
      gaussian: members.length === 0 ? null : row(moments.mean + sigmas * deviation, sigmas),
      roc: outliers.length === 0 ? null : row(rocThreshold(members, outliers, deviation, falseAlarms), falseAlarms),
    },
  };
}

/**
 * The threshold that lets at most the share `rate` of the outliers pass: halfway between the lowest outlier that must
 * not pass and the largest score below it, of a member or an outlier. If the two groups are separate, this is the
 * middle of the gap, which generalises better than its edges. Scores are on the signal's scale; `deviation` is that of
 * the members.
 */
export function rocThreshold(
  members: readonly number[],
  outliers: readonly number[],
  deviation: number,
  rate: number,
): number {
  const sorted = [...outliers].sort((a, b) => a - b);
  const allowed = Math.floor(rate * sorted.length + 1e-9);
  if (allowed >= sorted.length) return Math.max(...members, ...sorted);
  const first = sorted[allowed];
  const below = [...members, ...sorted].filter((score) => score < first);
  const last = below.length > 0 ? Math.max(...below) : first - deviation;
  const middle = (last + first) / 2;
  return middle < first ? middle : last;
}
