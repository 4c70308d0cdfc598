/**
 * Fits a likelihood ratio (decision/classifiers/log_ratio.ts) to numbers of images for which one of two hypotheses is
 * true. Cross-validation by groups of images that belong together chooses the penalty, and calibrates the ratio.
 */
import {
  calibratedRatio,
  type LineFit,
  type LogRatio,
  ratioColumns,
  ratioScore,
  type Scale,
} from "../decision/classifiers/log_ratio.ts";
import { meanAndDeviation } from "../metrics/mod.ts";
import { fitLogistic } from "./fit_logistic.ts";
import { minimize } from "./lbfgs.ts";

/** Numbers of an image for which a hypothesis is true. */
export interface RatioRow {
  readonly numbers: readonly number[];
  /** Whether the first hypothesis is true. */
  readonly first: boolean;
  /** Above 0. Each side's weights are scaled to add up to 1. */
  readonly weight: number;
}

/** Penalties to choose from. */
const ratioPenalties = [3e-4, 1e-3, 3e-3, 1e-2, 3e-2] as const;

/** Deviations are at least this, so that equal values can be divided by them. */
export const leastDeviation = 1e-6;

/** Mean and deviation of every column of rows[n][columns]. */
export function fitScale(rows: readonly (readonly number[])[]): Scale {
  const columns = rows[0].map((_, j) => meanAndDeviation(rows.map((row) => row[j])));
  return {
    mean: columns.map(({ mean }) => mean),
    deviation: columns.map(({ deviation }) => Math.max(deviation, leastDeviation)),
  };
}

/**
 * A row with the score of a regression that was fitted without it, and the kind of the image's history. Without a score
 * it only counts.
 */
type ScoredRow = Pick<RatioRow, "first" | "weight"> & { readonly score?: number; readonly kind: string };

/** The fewest rows of either hypothesis for a calibration of a kind, and the number of rows that pull it to the general one. */
const fewestOfKind = 20, pullOfAll = 10;

/**
 * From score to ln ratio: a logistic regression on cross-fitted scores in which both sides weigh 1/2, pulled towards
 * another line by as much as `pull` rows. Also the mean loss in nats, by which penalties are compared.
 */
function calibrateRatio(
  rows: readonly ScoredRow[],
  towards: LineFit = { slope: 1, offset: 0 },
  pull = 1,
): LineFit & { readonly loss: number } {
  const sides = sideWeights(rows), scored = rows.filter(({ score }) => score !== undefined);
  const weights = inAll(scored.map(({ first, weight }) => weight / sides[Number(first)] / 2), rows.length, 1);
  const share = pull / scored.length;
  const { x: [slope, offset], value: loss } = minimize((p, gradient) => {
    const away = [p[0] - towards.slope, p[1] - towards.offset];
    let value = share * (away[0] ** 2 + away[1] ** 2) / 2;
    gradient[0] = share * away[0];
    gradient[1] = share * away[1];
    scored.forEach(({ first, score }, i) => {
      const odds = p[1] + p[0] * score!;
      value += weights[i] * (Math.max(odds, 0) - (first ? odds : 0) + Math.log1p(Math.exp(-Math.abs(odds))));
      const error = weights[i] * (1 / (1 + Math.exp(-odds)) - Number(first));
      gradient[0] += error * score!;
      gradient[1] += error;
    });
    return value;
  }, Float64Array.from([towards.slope, towards.offset]));
  return { slope: Math.max(slope, leastRatioSlope), offset, loss };
}

/** Slopes are at least this, so that a higher score is never a lower ratio. */
const leastRatioSlope = 0.1;

/** The calibration of every kind with rows enough. */
function calibrateKinds(rows: readonly ScoredRow[], general: LineFit): Record<string, LineFit> {
  const kinds = [...Map.groupBy(rows, ({ kind }) => kind)].filter(([, some]) =>
    [true, false].every((side) =>
      some.filter(({ first, score }) => first === side && score !== undefined).length >= fewestOfKind
    )
  );
  return Object.fromEntries(
    kinds.sort(([a], [b]) => a < b ? -1 : 1).map(([kind, some]) => {
      const { slope, offset } = calibrateRatio(some, general, pullOfAll);
      return [kind, { slope, offset }];
    }),
  );
}

/** Total weights of the rows for which the second and the first hypothesis is true. */
function sideWeights(rows: readonly { readonly first: boolean; readonly weight: number }[]): [number, number] {
  const sides: [number, number] = [0, 0];
  for (const { first, weight } of rows) sides[Number(first)] += weight;
  return sides;
}

/** Weights of rows that stand for all of `count` rows, scaled to add up to `total` where they are not all. */
function inAll(weights: readonly number[], count: number, total: number): readonly number[] {
  if (weights.length === count) return weights;
  const scale = total / weights.reduce((a, b) => a + b, 0);
  return weights.map((weight) => scale * weight);
}

/** An image of a cross-validation. */
export interface RatioImage {
  /** Rows that the regression is fitted to, from what the fold knows. Empty for an image that neither side has. */
  readonly rows: (fold: number) => readonly RatioRow[];
  /**
   * Whether numbers of the image are known. Others only count for the weights of their side, whose known images then
   * stand for a part of it: the ratio is that of all images, fitted where numbers are known, and `bound` counts all.
   * Default true.
   */
  readonly isKnown?: boolean;
  /** The numbers by which the image is read when neither hypothesis is known. */
  readonly numbers: (fold: number) => readonly number[];
  /** Whether the rows of the first hypothesis are typical ones. */
  readonly isTypical: boolean;
  /** Images that belong together. */
  readonly group: string;
  /** The kind of its history (decision/classifiers/history.ts). */
  readonly kind: string;
  /** The fold that is fitted without the image. */
  readonly part: number;
}

/** A fitted ratio, and ln of the ratio of every image by one that was fitted without its group: NaN where not known. */
export interface RatioFit {
  readonly ratio: LogRatio;
  readonly crossFitted: readonly number[];
  /** The same by the last row of the second hypothesis; undefined for images without one. */
  readonly secondCrossFitted: readonly (number | undefined)[];
}

/**
 * Fits a ratio. `folds` names the folds; the images' functions are also called with `whole`, for what all images
 * together know. Throws a RangeError if a hypothesis has no image.
 */
export function fitRatio(images: readonly RatioImage[], folds: readonly number[], whole: number): RatioFit {
  const fit = (kept: readonly RatioImage[], fold: number, penalties: readonly number[]) => {
    const all = kept.flatMap((image) => image.rows(fold)), sides = sideWeights(all);
    const known = kept.filter(isKnown), rows = known.flatMap((image) => image.rows(fold));
    if (sideWeights(rows).includes(0)) throw new RangeError("fitRatio: expected images of both hypotheses");
    const typical = fitScale(
      known.flatMap((image) =>
        image.isTypical ? image.rows(fold).filter(({ first }) => first).map(({ numbers }) => numbers) : []
      ),
    );
    const columns = rows.map(({ numbers }) => ratioColumns(typical, numbers)),
      y = rows.map(({ first }) => Number(first));
    const rowWeights = inAll(rows.map(({ first, weight }) => weight / sides[Number(first)]), all.length, 2);
    const regressions = penalties.map((l2) => fitLogistic(columns, y, 2, { l2, rowWeights, tolerance: 1e-6 }));
    return { typical, regressions };
  };
  // By penalty: scores of the rows, and of the images as they are read.
  const scored = ratioPenalties.map((): ScoredRow[] => []), read = ratioPenalties.map(() => images.map(() => NaN));
  const second = ratioPenalties.map(() => images.map((): number | undefined => undefined));
  for (const fold of folds) {
    const { typical, regressions } = fit(images.filter(({ part }) => part !== fold), fold, ratioPenalties);
    images.forEach((image, i) => {
      if (image.part !== fold) return;
      const rows = image.rows(fold);
      if (!isKnown(image)) {
        for (const { first, weight } of rows) scored.forEach((list) => list.push({ first, weight, kind: image.kind }));
        return;
      }
      const numbers = image.numbers(fold);
      regressions.forEach((regression, p) => {
        read[p][i] = ratioScore({ typical, regression }, numbers);
        for (const { numbers, first, weight } of rows) {
          const score = ratioScore({ typical, regression }, numbers);
          scored[p].push({ first, weight, score, kind: image.kind });
          if (!first) second[p][i] = score;
        }
      });
    });
  }
  const calibrated = scored.map((rows) => calibrateRatio(rows));
  const best = calibrated.reduce((best, { loss }, p) => (loss < calibrated[best].loss ? p : best), 0);
  const { slope, offset } = calibrated[best], calibration = { slope, offset };
  const { typical, regressions: [regression] } = fit(images, whole, [ratioPenalties[best]]);
  const kinds = calibrateKinds(scored[best], calibration);
  const ratio = { typical, regression, calibration, kinds, bound: ratioBound(images, whole) };
  const lnRatio = (score: number, i: number) => calibratedRatio(ratio, score, images[i].kind);
  return {
    ratio,
    crossFitted: read[best].map(lnRatio),
    secondCrossFitted: second[best].map((score, i) => score === undefined ? undefined : lnRatio(score, i)),
  };
}

const isKnown = ({ isKnown = true }: RatioImage) => isKnown;

/** ln(n + 1), where n is the smaller number of groups that either hypothesis was fitted to. */
function ratioBound(images: readonly RatioImage[], whole: number): number {
  const groups = [new Set<string>(), new Set<string>()];
  for (const image of images) for (const { first } of image.rows(whole)) groups[Number(first)].add(image.group);
  return Math.log(Math.min(...groups.map(({ size }) => size)) + 1);
}
