/**
 * From judged images to the numbers of a report: how often verdicts are right, and how well every signal separates a family
 * from everything else. Numbers in, numbers out; how images are measured is in run_evaluation.ts.
 */
import type { FamilyName } from "../../models/family.ts";
import { type Calibration, type Rules, rulesOf, strategies, type Strategy } from "../decision/calibration_file.ts";
import type { FamilyEvidence, Measurements } from "../evidence/evidence.ts";
import { groupOf, type Label, type Labels, mapFamilies, outlierLabel } from "../labels.ts";
import {
  accuracy,
  auc,
  bootstrapInterval,
  type BootstrapOptions,
  bootstrapRoc,
  type ConfusionMatrix,
  confusionMatrix,
  drawSamples,
  type Interval,
  precision,
  recall,
  type RocCurve,
  rocCurve,
  type Samples,
  tprAtFpr,
} from "../metrics/mod.ts";
import { familyScore } from "../decision/family_distance.ts";
import { baselineNames, baselineTable, scoreNames, scoreTable, signalTable } from "../signals/table.ts";
import { chooseFamily } from "../decision/methods.ts";

/** An image whose label is known, and what was said about it. */
export interface Judged {
  readonly image: string;
  readonly label: Label;
  readonly source: string;
  /** What was said. */
  readonly verdict: Label;
  readonly confidence: number;
  readonly families: Measurements["families"];
  /** Of the level `baselines`, where that was measured. */
  readonly baselines?: Measurements["families"];
}

/** A number with its interval (95 %, bootstrap); null where it is not defined. */
export interface Estimate {
  readonly value: number | null;
  readonly interval: Interval | null;
}

/** How well scores tell members of a family from one kind of nonmembers. */
export interface Separation {
  /** What the nonmembers are: `everything else`, a label, `outlier`, a source of outliers, or another family. */
  readonly nonmembers: string;
  readonly members: number;
  readonly others: number;
  readonly auc: Estimate;
  /** At a false positive rate of 1 %. */
  readonly tpr: Estimate;
  readonly roc: RocCurve;
}

export interface SignalResult {
  readonly family: FamilyName;
  /** Name of a signal, or of a baseline. */
  readonly signal: string;
  readonly title: string;
  /** Whether verdicts rest on it. */
  readonly decides: boolean;
  readonly separations: readonly Separation[];
}

/** The family decision with the thresholds of one strategy. */
export interface StrategyResult {
  readonly threshold: Strategy;
  readonly decides: boolean;
  readonly familyAccuracy: Estimate;
  readonly outlierRecall: Estimate;
  readonly outlierPrecision: Estimate;
}

export interface Evaluation {
  readonly images: number;
  /** Images by label. */
  readonly labels: Readonly<Partial<Record<Label, number>>>;
  /** Share of the verdicts that are right. */
  readonly accuracy: Estimate;
  /** The same of families and outlier. */
  readonly familyAccuracy: Estimate;
  /** Of the images whose family was found, the share whose variant was. */
  readonly variantAccuracy: Estimate;
  readonly outlierRecall: Estimate;
  readonly outlierPrecision: Estimate;
  readonly confusion: ConfusionMatrix;
  readonly familyConfusion: ConfusionMatrix;
  readonly strategies: readonly StrategyResult[];
  readonly signals: readonly SignalResult[];
}

export interface EvaluateOptions {
  readonly calibration: Calibration;
  /** What the verdicts rest on. */
  readonly rules: Rules;
  readonly threshold: Strategy | null;
  readonly bootstrap?: BootstrapOptions;
}

/** Evaluates. Throws without images. */
export function evaluate(judged: readonly Judged[], options: EvaluateOptions): Evaluation {
  if (judged.length === 0) throw new Error("evaluate: expected at least one image that could be read, got none");
  const { bootstrap, rules: { labels } } = options;
  const pairs = judged.map(({ label, verdict }) => ({ label, verdict }));
  const over = (statistic: (sample: readonly Pair[]) => number | null) => estimate(pairs, statistic, bootstrap);
  const draw = sampler(bootstrap);
  const exact = (sample: readonly Pair[]) => labelMatrix(sample, labels);
  const byFamily = (sample: readonly Pair[]) => familyMatrix(sample, labels);
  const variants = pairs.filter(({ label, verdict }) =>
    label !== outlierLabel && labels.familyOf(label) === labels.familyOf(verdict)
  );
  const counts: Partial<Record<Label, number>> = {};
  for (const { label } of judged) counts[label] = (counts[label] ?? 0) + 1;
  return {
    images: judged.length,
    labels: counts,
    accuracy: over((sample) => accuracy(exact(sample))),
    familyAccuracy: over((sample) => accuracy(byFamily(sample))),
    variantAccuracy: estimate(variants, (sample) => accuracy(exact(sample)), bootstrap),
    outlierRecall: over((sample) => recall(byFamily(sample), outlierLabel)),
    outlierPrecision: over((sample) => precision(byFamily(sample), outlierLabel)),
    confusion: exact(pairs),
    familyConfusion: byFamily(pairs),
    strategies: strategyResults(judged, options),
    signals: labels.families.flatMap((family) => signalResults(judged, family, options, draw)),
  };
}

interface Pair {
  readonly label: Label;
  readonly verdict: Label;
}

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

/** A statistic of items and its interval, which is drawn within each true label. */
function estimate(
  items: readonly Pair[],
  statistic: (sample: readonly Pair[]) => number | null,
  bootstrap?: BootstrapOptions,
): Estimate {
  const groups = [...Map.groupBy(items, ({ label }) => label).values()];
  return {
    value: statistic(items),
    interval: bootstrapInterval(groups, (sample) => statistic(sample.flat()), bootstrap),
  };
}

/** What each strategy's thresholds would decide, on the signals that the rules use. */
function strategyResults(judged: readonly Judged[], { calibration, rules, threshold, bootstrap }: EvaluateOptions) {
  const { labels } = rules;
  const signals = mapFamilies(labels.families, (family) => rules.families[family].signal);
  const found: StrategyResult[] = [];
  for (const strategy of strategies) {
    const missing = labels.families.some((name) => !calibration.families[name][signals[name]]?.thresholds[strategy]);
    if (missing) continue;
    const other = rulesOf(calibration, labels, { threshold: strategy, signals });
    // Any variant of the family stands for it: these rates look no further.
    const pairs = judged.map(({ label, families }): Pair => {
      const family = chooseFamily(families, other);
      return { label, verdict: family === null ? outlierLabel : labels.variants[family][0] };
    });
    const over = (statistic: (matrix: ConfusionMatrix) => number | null) =>
      estimate(pairs, (sample) => statistic(familyMatrix(sample, labels)), bootstrap);
    found.push({
      threshold: strategy,
      decides: strategy === threshold,
      familyAccuracy: over(accuracy),
      outlierRecall: over((matrix) => recall(matrix, outlierLabel)),
      outlierPrecision: over((matrix) => precision(matrix, outlierLabel)),
    });
  }
  return found;
}

/** The false positive rate at which signals are compared. */
const operatingPoint = 0.01;

/** Samples of so many members and others. */
type Draw = (members: number, others: number) => Samples;

/** Draws samples once for every pair of sizes: signals are compared on the same ones. */
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

function signalResults(
  judged: readonly Judged[],
  family: FamilyName,
  { rules, calibration }: EvaluateOptions,
  draw: Draw,
): SignalResult[] {
  const row = (signal: string, title: string, score: Score): SignalResult[] => {
    if (judged.some((item) => score(item) === undefined)) return [];
    const decides = rules.families[family].signal === signal;
    return [{
      family,
      signal,
      title,
      decides,
      separations: separations(judged, { family, labels: rules.labels, score }, draw),
    }];
  };
  const model = calibration.oneClass?.[family];
  const own = scoreNames.flatMap((name) =>
    row(name, scoreTable[name].title, ({ families }) => {
      if (name !== "oneClass") return signalTable[name].score(families[family]);
      return model && familyScore(name, families, family, model);
    })
  );
  const base = baselineNames.flatMap((name) => {
    const score: (evidence: FamilyEvidence) => number | undefined = baselineTable[name];
    return row(name, `${name} (baseline)`, ({ baselines }) => baselines && score(baselines[family]));
  });
  return [...own, ...base];
}

/** Members against each kind of nonmembers that there are; none where the family has no images. */
function separations(
  judged: readonly Judged[],
  { family, labels, score }: { family: FamilyName; labels: Labels; score: Score },
  draw: Draw,
): Separation[] {
  const members = judged.filter(({ label }) => labels.familyOf(label) === family);
  const rest = judged.filter(({ label }) => labels.familyOf(label) !== family);
  const own = members.map((item) => score(item)!);
  if (own.length === 0) return [];
  return nonmemberKinds(rest, labels).map(({ name, items }) => {
    const others = items.map((item) => score(item)!);
    const intervals = bootstrapRoc(own, others, draw(own.length, others.length), operatingPoint);
    return {
      nonmembers: name,
      members: own.length,
      others: others.length,
      auc: { value: auc(own, others), interval: intervals.auc },
      tpr: { value: tprAtFpr(own, others, operatingPoint), interval: intervals.tpr },
      roc: rocCurve(own, others),
    };
  });
}

/** Everything else, then outliers and their sources, then other families and their variants, as far as there are any. */
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

/** The name of all nonmembers together. */
export const everythingElse = "everything else";
