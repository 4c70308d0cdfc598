/**
 * Compares methods on the same measured images: how often each is right, and how well its confidence is calibrated.
 * run_evaluation.ts measures the images.
 */
import type { Rules } from "../decision/calibration_file.ts";
import type { MeasuredLine } from "../evidence/evidence.ts";
import { groupOf, type Label, mapFamilies, outlierLabel } from "../labels.ts";
import { familyNamed } from "../../models/registry.ts";
import type { ByFamily, FamilyName } from "../../models/family.ts";
import {
  bootstrapInterval,
  type BootstrapOptions,
  calibrationError,
  type ReliabilityBin,
  reliabilityBins,
} from "../metrics/mod.ts";
import {
  type Decision,
  type ExtrasName,
  type Method,
  methodNames,
  methodOf,
  requireMethod,
} from "../decision/methods.ts";
import type { Estimate } from "./evaluate.ts";

/** A labelled image with the likelihoods of all variants. */
export interface MeasuredImage {
  readonly label: Label;
  readonly line: MeasuredLine;
}

/** How good a method is. */
export interface MethodResult {
  readonly method: string;
  /** Share of right verdicts. */
  readonly accuracy: Estimate;
  readonly familyAccuracy: Estimate;
  /** By family: the share of its images whose variant the method finds when it is told the family. */
  readonly variants: ByFamily<Estimate>;
  readonly outlierRecall: Estimate;
  readonly outlierPrecision: Estimate;
  /** Expected calibration error of the confidence, ten bins. */
  readonly calibrationError: Estimate;
  readonly reliability: readonly ReliabilityBin[];
  /** Accuracy if the share of outliers were half or twice as large; null without outliers or without members. */
  readonly halfOutliers: number | null;
  readonly doubleOutliers: number | null;
}

/** Names of the methods that the calibration allows, in the order of registration. */
export function knownMethods(rules: Rules): string[] {
  return methodNames().filter((name) => {
    try {
      requireMethod(name, rules);
      return true;
    } catch {
      return false;
    }
  });
}

/** The statistics of token scores that these methods need in addition to the summaries. */
export function extrasOf(names: readonly string[]): ExtrasName[] {
  return [...new Set(names.flatMap((name) => methodOf(name).extras ?? []))];
}

interface Judgement {
  readonly label: Label;
  readonly verdict: string;
  readonly confidence: number;
  /** Whether the method finds the variant when it is told the family; null for outliers. */
  readonly variantFound: boolean | null;
}

/** Compares methods, by default all that the calibration allows. Throws without images. */
export function compareMethods(
  images: readonly MeasuredImage[],
  rules: Rules,
  names: readonly string[] = knownMethods(rules),
  bootstrap?: BootstrapOptions,
): MethodResult[] {
  if (images.length === 0) throw new Error("compareMethods: expected at least one image, got none");
  return names.map((name) => {
    const judged = images.map((image) => judge(methodOf(name), image, rules));
    const over = (items: readonly Judgement[], statistic: (items: readonly Judgement[]) => number | null): Estimate => {
      const groups = [...Map.groupBy(items, ({ label }) => label).values()];
      return {
        value: statistic(items),
        interval: bootstrapInterval(groups, (sample) => statistic(sample.flat()), bootstrap),
      };
    };
    const { labels } = rules;
    const of = (group: string) => judged.filter(({ label }) => groupOf(labels, label) === group);
    const isRight = ({ label, verdict }: Judgement) => label === verdict;
    const isOut = ({ verdict }: Judgement) => verdict === outlierLabel;
    const [confidence, right] = [judged.map((item) => item.confidence), judged.map(isRight)];
    return {
      method: name,
      accuracy: over(judged, (items) => share(items, isRight)),
      familyAccuracy: over(
        judged,
        (items) => share(items, ({ label, verdict }) => labels.familyOf(label) === labels.familyOf(verdict)),
      ),
      variants: mapFamilies(
        labels.families,
        (family) => over(of(family), (items) => share(items, ({ variantFound }) => variantFound!)),
      ),
      outlierRecall: over(of(outlierLabel), (items) => share(items, isOut)),
      outlierPrecision: over(judged, (items) => share(items.filter(isOut), isRight)),
      calibrationError: over(
        judged,
        (items) => calibrationError(items.map((item) => item.confidence), items.map(isRight)),
      ),
      reliability: reliabilityBins(confidence, right),
      ...shifted(
        judged,
        share(of(outlierLabel), isRight),
        share(judged.filter(({ label }) => label !== outlierLabel), isRight),
      ),
    };
  });
}

function judge(method: Method, { label, line }: MeasuredImage, rules: Rules): Judgement {
  const evidence = method.condition === undefined ? withoutClass(line) : line;
  const { label: verdict, confidence } = method.decide(evidence, rules);
  const family = rules.labels.familyOf(label);
  if (family === null) return { label, verdict, confidence, variantFound: null };
  const told = method.decide(evidence, { ...rules, families: only(rules, family) });
  return { label, verdict, confidence, variantFound: bestVariant(told, rules.labels.variants[family]) === label };
}

/** Rules under which every image passes as this family, and none as another. */
function only(rules: Rules, family: FamilyName): Rules["families"] {
  return mapFamilies(
    rules.labels.families,
    (name) => ({ ...rules.families[name], threshold: name === family ? null : -Infinity }),
  );
}

function bestVariant({ scores }: Decision, variants: readonly string[]): string {
  return variants.reduce((a, b) => ((scores[b] ?? -1) > (scores[a] ?? -1) ? b : a));
}

/** The evidence as if tokens had been scored without a class, for methods that use such likelihoods. */
function withoutClass(line: MeasuredLine): MeasuredLine {
  const variants = Object.fromEntries(
    Object.entries(line.variants).map(([label, evidence]) => {
      const { summaries = {} } = evidence;
      const mean = summaries["unconditional.mean"] ?? evidence.meanLogProb;
      return [label, {
        ...evidence,
        meanLogProb: Math.min(0, mean),
        summaries: { ...summaries, "conditional.mean": mean },
      }];
    }),
  );
  return { ...line, variants };
}

function share<T>(items: readonly T[], is: (item: T) => boolean): number | null {
  return items.length === 0 ? null : items.filter(is).length / items.length;
}

/** Accuracy if the share of outliers were half or twice as large. */
function shifted(judged: readonly Judgement[], outliers: number | null, members: number | null) {
  if (outliers === null || members === null) return { halfOutliers: null, doubleOutliers: null };
  const rate = judged.filter(({ label }) => label === outlierLabel).length / judged.length;
  const at = (outlierRate: number) => outlierRate * outliers + (1 - outlierRate) * members;
  return { halfOutliers: at(rate / 2), doubleOutliers: at(Math.min(1, 2 * rate)) };
}

/** A column of a table of methods. */
export interface MethodColumn {
  /** In CSV files. */
  readonly name: string;
  /** In tables for people. */
  readonly title: string;
  readonly of: (result: MethodResult) => Estimate;
}

/** Columns of tables of methods; one for the variants of each family in the results. */
export function methodColumns(results: readonly MethodResult[]): readonly MethodColumn[] {
  const families = Object.keys(results[0]?.variants ?? {});
  return [
    { name: "accuracy", title: "accuracy, all labels", of: ({ accuracy }) => accuracy },
    { name: "familyAccuracy", title: "family accuracy", of: ({ familyAccuracy }) => familyAccuracy },
    ...families.map((family): MethodColumn => ({
      name: `${family}Variants`,
      title: `variant, ${familyNamed(family).title} given`,
      of: ({ variants }) => variants[family],
    })),
    { name: "outlierRecall", title: "outlier recall", of: ({ outlierRecall }) => outlierRecall },
    { name: "outlierPrecision", title: "outlier precision", of: ({ outlierPrecision }) => outlierPrecision },
    { name: "calibrationError", title: "calibration error", of: ({ calibrationError }) => calibrationError },
  ];
}
