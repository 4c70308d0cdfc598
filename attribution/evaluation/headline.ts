/**
 * Computes the figures of figures.ts with their intervals by picture. Rates have exact intervals (Clopper-Pearson over
 * as many trials as there are pictures), all others bootstrap intervals over pictures within each true label.
 */
import { findings } from "../evidence/evidence.ts";
import { groupOf, type Labels, outlierLabel } from "../labels.ts";
import {
  accuracyAtCoverage,
  aurc,
  auroc,
  type BootstrapOptions,
  brier,
  cllr,
  clusteredRate,
  clusterIntervals,
  type CountedStatistic,
  equalMassCalibrationError,
  minCllr,
} from "../metrics/mod.ts";
import type { Estimate } from "./evaluate.ts";
import { type FigureName, figureNames, sourceFigureNames } from "./figures.ts";
import { isRight, type JudgedVerdict } from "./judged.ts";

/** The figures of some verdicts. */
export interface Headline {
  /** Number of images. */
  readonly images: number;
  /** Number of pictures that they were made from. */
  readonly pictures: number;
  /** Number of images that a model of the set made. */
  readonly members: number;
  /** Number of all others. */
  readonly outliers: number;
  /** Numbers of members and outliers by finding, findings that do not occur left out. */
  readonly findings: Readonly<Record<"members" | "outliers", Readonly<Record<string, number>>>>;
  /** All figures. */
  readonly figures: Readonly<Record<FigureName, Estimate>>;
}

/** A confidence from which on a wrong verdict is called sure. */
const sure = 0.9;

const isOutlier = ({ label }: JudgedVerdict) => label === outlierLabel;

/** What figures depend on beside the verdicts. */
export interface HeadlineOptions {
  /** The labels of the set. */
  readonly labels: Labels;
  /** How intervals are drawn. */
  readonly bootstrap?: BootstrapOptions;
  /** Compute only these figures; the others are null. Default: all. */
  readonly names?: readonly FigureName[];
}

/** The figures of verdicts. Those that are not defined, such as rates of outliers without outliers, are null. */
export function headline(
  verdicts: readonly JudgedVerdict[],
  { labels, bootstrap, names = figureNames }: HeadlineOptions,
): Headline {
  // In falling order, so that each bootstrap sample is sorted already.
  const sorted = [...verdicts].sort((a, b) => b.confidence - a.confidence);
  const members = sorted.filter((item) => !isOutlier(item)), outliers = sorted.filter(isOutlier);
  const statistics = new Map(
    [...confidenceStatistics(sorted), ...costStatistics(sorted)].filter(([name]) => names.includes(name)),
  );
  const intervals = clusterIntervals(
    sorted.map(({ label, picture }) => ({ stratum: label, cluster: picture })),
    Object.fromEntries(statistics),
    bootstrap,
  );
  const once = new Uint32Array(sorted.length).fill(1);
  const estimates = rates(sorted, labels);
  for (const [name, statistic] of statistics) estimates[name] = { value: statistic(once), interval: intervals[name] };
  return {
    images: sorted.length,
    pictures: new Set(sorted.map(({ label, picture }) => `${label} ${picture}`)).size,
    members: members.length,
    outliers: outliers.length,
    findings: { members: countFindings(members), outliers: countFindings(outliers) },
    figures: Object.fromEntries(
      figureNames.map((name) => [name, names.includes(name) && estimates[name] || { value: null, interval: null }]),
    ) as Record<FigureName, Estimate>,
  };
}

function countFindings(verdicts: readonly JudgedVerdict[]): Record<string, number> {
  return Object.fromEntries(
    findings.map((name) => [name, verdicts.filter(({ finding }) => finding === name).length] as const)
      .filter(([, count]) => count > 0),
  );
}

/** Shares of images, of outliers or of members. */
function rates(verdicts: readonly JudgedVerdict[], labels: Labels): Partial<Record<FigureName, Estimate>> {
  const everyone = () => true;
  const isMember = (item: JudgedVerdict) => !isOutlier(item);
  const isSure = ({ confidence }: JudgedVerdict) => confidence >= sure;
  const found = (name: JudgedVerdict["finding"]) => ({ finding }: JudgedVerdict) => finding === name;
  const share = (of: (item: JudgedVerdict) => boolean, ...is: ((item: JudgedVerdict) => boolean)[]): Estimate => {
    const items = verdicts.filter(of);
    const rate = clusteredRate(
      items.map((item) => is.every((condition) => condition(item))),
      items.map(({ label, picture }) => `${label} ${picture}`),
    );
    return rate ?? { value: null, interval: null };
  };
  const familyIsRight = ({ label, verdict }: JudgedVerdict) => groupOf(labels, label) === groupOf(labels, verdict);
  return {
    accuracy: share(everyone, isRight),
    membersRight: share(isMember, isRight),
    familyAccuracy: share(everyone, familyIsRight),
    outlierRecall: share(isOutlier, isRight),
    accused: share(isOutlier, found("variant")),
    surelyAccused: share(isOutlier, found("variant"), isSure),
    surelyNamed: share(isOutlier, (item) => !isRight(item), isSure),
    outliersFamily: share(isOutlier, found("family")),
    exonerated: share(isMember, found("none")),
    surelyExonerated: share(isMember, found("none"), isSure),
    inconclusive: share(everyone, found("inconclusive")),
    outliersInconclusive: share(isOutlier, found("inconclusive")),
    ...hasRatios(verdicts) && {
      membersBelow1: share(isMember, (item) => ratioOf(item) < 0),
      membersBelow01: share(isMember, (item) => ratioOf(item) < -1),
      outliersAbove1: share(isOutlier, (item) => ratioOf(item) > 0),
      outliersAbove10: share(isOutlier, (item) => ratioOf(item) > 1),
    },
  };
}

/** How well the confidence tells right from wrong. */
function confidenceStatistics(verdicts: readonly JudgedVerdict[]): [FigureName, CountedStatistic][] {
  const confidence = Float64Array.from(verdicts, (item) => item.confidence), right = verdicts.map(isRight);
  /** Of a constant confidence, the mean: how far it is from the share of right verdicts, and its Brier score. */
  const constant = (counts: ArrayLike<number>) => {
    let sum = 0, rightCount = 0, total = 0;
    for (let i = 0; i < confidence.length; i++) {
      sum += counts[i] * confidence[i];
      if (right[i]) rightCount += counts[i];
      total += counts[i];
    }
    const mean = sum / total, accuracy = rightCount / total;
    return { gap: Math.abs(mean - accuracy), brier: accuracy * (1 - mean) ** 2 + (1 - accuracy) * mean ** 2 };
  };
  return [
    ["auroc", (counts) => auroc(confidence, right, counts)],
    ["accuracyAt80", (counts) => accuracyAtCoverage(confidence, right, 0.8, counts)],
    ["accuracyAt90", (counts) => accuracyAtCoverage(confidence, right, 0.9, counts)],
    ["aurc", (counts) => aurc(confidence, right, counts)],
    ["brier", (counts) => brier(confidence, right, counts)],
    ["constantBrier", (counts) => constant(counts).brier],
    ["calibrationError", (counts) => equalMassCalibrationError(confidence, right, 10, counts)],
    ["constantCalibrationError", (counts) => constant(counts).gap],
  ];
}

/** log10 of an image's ratio. An image of which nothing could be measured has none: nothing speaks for either side. */
const ratioOf = ({ log10LikelihoodRatio = 0 }: JudgedVerdict) => log10LikelihoodRatio;

/** Whether the method gives likelihood ratios. */
const hasRatios = (verdicts: readonly JudgedVerdict[]) =>
  verdicts.some(({ log10LikelihoodRatio }) => log10LikelihoodRatio !== undefined);

/** What the likelihood ratios cost; none if the method gives no ratios. */
function costStatistics(verdicts: readonly JudgedVerdict[]): [FigureName, CountedStatistic][] {
  if (!hasRatios(verdicts)) return [];
  // In rising order, so that each bootstrap sample is sorted already.
  const order = [...verdicts.keys()].sort((a, b) => ratioOf(verdicts[a]) - ratioOf(verdicts[b]));
  const logs = order.map((i) => ratioOf(verdicts[i])), isMember = order.map((i) => !isOutlier(verdicts[i]));
  const countsOf = (counts: ArrayLike<number>) => order.map((i) => counts[i]);
  return [
    ["cllr", (counts) => cllr(logs, isMember, countsOf(counts))],
    ["minCllr", (counts) => minCllr(logs, isMember, countsOf(counts))],
  ];
}

/** The figures of each source of outliers, by its name: over its images and all members, so that costs are defined. */
export function headlineBySource(
  verdicts: readonly JudgedVerdict[],
  options: HeadlineOptions,
): Record<string, Headline> {
  const members = verdicts.filter((item) => !isOutlier(item));
  const sources = Map.groupBy(verdicts.filter(isOutlier), ({ source }) => source);
  return Object.fromEntries(
    [...sources].map(([source, outliers]) => [
      source,
      headline([...members, ...outliers], { ...options, names: sourceFigureNames }),
    ]),
  );
}
