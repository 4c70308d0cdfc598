/**
 * Computes the numbers of an evaluation from judged images: how often verdicts are right, and how well every signal
 * separates a family from everything else. run_evaluation.ts measures the images.
 */
import type { FamilyName } from "../../models/family.ts";
import { type Calibration, type Rules, rulesOf, strategies, type Strategy } from "../decision/calibration_file.ts";
import type { FamilyEvidence, Measurements } from "../evidence/evidence.ts";
import { groupOf, type Label, type Labels, mapFamilies, outlierLabel } from "../labels.ts";
import {
  auc,
  type BootstrapOptions,
  bootstrapRoc,
  clusteredRate,
  type ConfusionMatrix,
  confusionMatrix,
  drawSamples,
  type Interval,
  type RocCurve,
  rocCurve,
  type Samples,
  tprAtFpr,
} from "../metrics/mod.ts";
import { familyScore } from "../decision/family_distance.ts";
import { baselineNames, baselineTable, scoreNames, scoreTable, signalTable } from "../signals/table.ts";
import { chooseFamily } from "../decision/methods.ts";
import { isRight, type JudgedVerdict } from "./judged.ts";

/** A labelled image with its verdict and signals. */
export interface Judged extends JudgedVerdict {
  /** Signals by family. */
  readonly families: Measurements["families"];
  /** Signals of the level `baselines`, if they were measured. */
  readonly baselines?: Measurements["families"];
}

/** A number with its 95 % interval; null if it is not defined. */
export interface Estimate {
  readonly value: number | null;
  readonly interval: Interval | null;
}

/** How well scores separate members of a family from one group of nonmembers. */
export interface Separation {
  /** The nonmembers: `everything else`, a label, `outlier`, a source of outliers, or another family. */
  readonly nonmembers: string;
  /** Number of members. */
  readonly members: number;
  /** Number of nonmembers. */
  readonly others: number;
  readonly auc: Estimate;
  /** The true positive rate at a false positive rate of 1 %. */
  readonly tpr: Estimate;
  readonly roc: RocCurve;
}

/** How well a signal separates a family from groups of nonmembers. */
export interface SignalResult {
  readonly family: FamilyName;
  /** Name of a signal, or of a baseline. */
  readonly signal: string;
  readonly title: string;
  /** Whether thresholds on it decide about the family. */
  readonly decides: boolean;
  readonly separations: readonly Separation[];
}

/** The family decision with the thresholds of one strategy. */
export interface StrategyResult {
  readonly threshold: Strategy;
  /** Whether these thresholds decide; none does for a method without thresholds. */
  readonly decides: boolean;
  readonly familyAccuracy: Estimate;
  readonly outlierRecall: Estimate;
  readonly outlierPrecision: Estimate;
}

/** The numbers of an evaluation. */
export interface Evaluation {
  /** Number of images. */
  readonly images: number;
  /** Number of images by label. */
  readonly labels: Readonly<Partial<Record<Label, number>>>;
  /** Share of right verdicts. */
  readonly accuracy: Estimate;
  /** Share of verdicts with the right family, or rightly outlier. */
  readonly familyAccuracy: Estimate;
  /** Share of right variants among the images whose family is right. */
  readonly variantAccuracy: Estimate;
  readonly outlierRecall: Estimate;
  readonly outlierPrecision: Estimate;
  readonly confusion: ConfusionMatrix;
  readonly familyConfusion: ConfusionMatrix;
  readonly strategies: readonly StrategyResult[];
  readonly signals: readonly SignalResult[];
}

/** Options of `evaluate`. */
export interface EvaluateOptions {
  readonly calibration: Calibration;
  /** Signals and thresholds of the verdicts. */
  readonly rules: Rules;
  /** The strategy of these thresholds; null for thresholds that were set by hand. */
  readonly threshold: Strategy | null;
  /** Whether the method that decides does so by thresholds. */
  readonly byThresholds: boolean;
  readonly bootstrap?: BootstrapOptions;
}

/** Evaluates verdicts and signals. Throws without images. */
export function evaluate(judged: readonly Judged[], options: EvaluateOptions): Evaluation {
  if (judged.length === 0) throw new Error("evaluate: expected at least one image that could be read, got none");
  const { bootstrap, rules: { labels } } = options;
  const draw = sampler(bootstrap);
  const exact = labelMatrix(judged, labels), byFamily = familyMatrix(judged, labels);
  const group = (label: Label) => groupOf(labels, label);
  const sameFamily = (item: Pair) => group(item.label) === group(item.verdict);
  const counts: Partial<Record<Label, number>> = {};
  for (const { label } of judged) counts[label] = (counts[label] ?? 0) + 1;
  return {
    images: judged.length,
    labels: counts,
    accuracy: rate(judged, isRight),
    familyAccuracy: rate(judged, sameFamily),
    variantAccuracy: rate(judged.filter((item) => item.label !== outlierLabel && sameFamily(item)), isRight),
    outlierRecall: rate(judged.filter(({ label }) => label === outlierLabel), isRight),
    outlierPrecision: rate(judged.filter(({ verdict }) => verdict === outlierLabel), isRight),
    confusion: exact,
    familyConfusion: byFamily,
    strategies: strategyResults(judged, options),
    signals: labels.families.flatMap((family) => signalResults(judged, family, options, draw)),
  };
}

type Pair = Pick<JudgedVerdict, "label" | "verdict" | "picture">;

function labelMatrix(pairs: readonly Pair[], labels: Labels): ConfusionMatrix {
  return confusionMatrix(pairs.map(({ label }) => label), pairs.map(({ verdict }) => verdict), labels.all);
}

function familyMatrix(pairs: readonly Pair[], labels: Labels): ConfusionMatrix {
  const groups = (pick: (pair: Pair) => Label) => pairs.map((pair) => groupOf(labels, pick(pair)));
  return confusionMatrix(groups(({ label }) => label), groups(({ verdict }) => verdict), [
    ...labels.families,
    outlierLabel,
  ]);
}

/** A share of items, with the exact interval of as many trials as there are pictures. */
function rate(items: readonly Pair[], is: (item: Pair) => boolean): Estimate {
  return clusteredRate(items.map(is), items.map(({ label, picture }) => `${label} ${picture}`)) ??
    { value: null, interval: null };
}

/** The family decision by the thresholds of each strategy, with the signals of the rules. */
function strategyResults(judged: readonly Judged[], { calibration, rules, threshold, byThresholds }: EvaluateOptions) {
  const { labels } = rules;
  const signals = mapFamilies(labels.families, (family) => rules.families[family].signal);
  const results: StrategyResult[] = [];
  for (const strategy of strategies) {
    const missing = labels.families.some((name) => !calibration.families[name][signals[name]]?.thresholds[strategy]);
    if (missing) continue;
    const other = rulesOf(calibration, labels, { threshold: strategy, signals });
    // These rates look at families only, so any variant can represent its family.
    const pairs = judged.map(({ label, picture, families }): Pair => {
      const family = chooseFamily(families, other);
      return { label, picture, verdict: family === null ? outlierLabel : labels.variants[family][0] };
    });
    results.push({
      threshold: strategy,
      decides: byThresholds && strategy === threshold,
      familyAccuracy: rate(pairs, (item) => groupOf(labels, item.label) === groupOf(labels, item.verdict)),
      outlierRecall: rate(pairs.filter(({ label }) => label === outlierLabel), isRight),
      outlierPrecision: rate(pairs.filter(({ verdict }) => verdict === outlierLabel), isRight),
    });
  }
  return results;
}

/** The false positive rate at which signals are compared. */
const operatingPoint = 0.01;

/** Bootstrap samples of a number of members and a number of nonmembers. */
type Draw = (members: number, others: number) => Samples;

/** Draws samples once for every pair of sizes, so that signals are compared on the same ones. */
function sampler(bootstrap?: BootstrapOptions): Draw {
  const known = new Map<string, Samples>();
  return (...sizes) => {
    const key = sizes.join();
    const samples = known.get(key) ?? drawSamples(sizes, bootstrap);
    known.set(key, samples);
    return samples;
  };
}

type Score = (item: Judged) => number | undefined;

/** Of the images that a family judges. */
function signalResults(
  all: readonly Judged[],
  family: FamilyName,
  { rules, calibration, byThresholds }: EvaluateOptions,
  draw: Draw,
): SignalResult[] {
  const judged = all.filter(({ families }) => family in families);
  const row = (signal: string, title: string, score: Score): SignalResult[] => {
    if (judged.length === 0 || judged.some((item) => score(item) === undefined)) return [];
    const decides = byThresholds && rules.families[family].signal === signal;
    return [{
      family,
      signal,
      title,
      decides,
      separations: separations(judged, { family, labels: rules.labels, score }, draw),
    }];
  };
  const model = calibration.oneClass?.[family];
  const signals = scoreNames.flatMap((name) =>
    row(name, scoreTable[name].title, ({ families }) => {
      if (name !== "oneClass") return signalTable[name].score(families[family]);
      return model && familyScore(name, families, family, model);
    })
  );
  const baselines = baselineNames.flatMap((name) => {
    const score: (evidence: FamilyEvidence) => number | undefined = baselineTable[name];
    return row(name, `${name} (baseline)`, ({ baselines }) => baselines && score(baselines[family]));
  });
  return [...signals, ...baselines];
}

/** Separates members from each group of nonmembers that has images. Empty if the family has no images. */
function separations(
  judged: readonly Judged[],
  { family, labels, score }: { family: FamilyName; labels: Labels; score: Score },
  draw: Draw,
): Separation[] {
  const members = judged.filter(({ label }) => labels.familyOf(label) === family);
  const rest = judged.filter(({ label }) => labels.familyOf(label) !== family);
  const memberScores = members.map((item) => score(item)!);
  if (members.length === 0) return [];
  return nonmemberKinds(rest, labels).map(({ name, items }) => {
    const scores = items.map((item) => score(item)!);
    const intervals = bootstrapRoc(memberScores, scores, draw(members.length, scores.length), operatingPoint);
    return {
      nonmembers: name,
      members: members.length,
      others: scores.length,
      auc: { value: auc(memberScores, scores), interval: intervals.auc },
      tpr: { value: tprAtFpr(memberScores, scores, operatingPoint), interval: intervals.tpr },
      roc: rocCurve(memberScores, scores),
    };
  });
}

/** Groups of nonmembers that have images: everything else, outliers, their sources, other families, their variants. */
function nonmemberKinds(rest: readonly Judged[], labels: Labels): { name: string; items: readonly Judged[] }[] {
  const kinds: { name: string; items: readonly Judged[] }[] = [{ name: everythingElse, items: rest }];
  const add = (name: string, items: readonly Judged[]) => kinds.push({ name, items });
  const outliers = rest.filter(({ label }) => label === outlierLabel);
  add(outlierLabel, outliers);
  const sources = Map.groupBy(outliers, ({ source }) => source);
  if (sources.size > 1) { for (const [source, items] of sources) add(source, items); }
  for (const family of labels.families) add(family, rest.filter(({ label }) => labels.familyOf(label) === family));
  for (const label of labels.all) if (label !== outlierLabel) add(label, rest.filter((item) => item.label === label));
  const seen = new Set<string>();
  return kinds.filter(({ name, items }) => items.length > 0 && !seen.has(name) && seen.add(name) !== undefined);
}

/** Name of the group of all nonmembers. */
export const everythingElse = "everything else";
