/**
 * All methods on the same images: how often each is right, and how far its confidence is to be believed. Measured images and
 * rules in, a table out; measuring is in run_evaluation.ts.
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

/** An image whose label is known, measured under all variants. */
export interface MeasuredImage {
  readonly label: Label;
  readonly line: MeasuredLine;
}

export interface MethodResult {
  readonly method: string;
  /** Share of verdicts that are right. */
  readonly accuracy: Estimate;
  readonly familyAccuracy: Estimate;
  /** Of each family's images, the share whose variant is found by a method that is told the family. */
  readonly variants: ByFamily<Estimate>;
  readonly outlierRecall: Estimate;
  readonly outlierPrecision: Estimate;
  /** Expected calibration error of the confidence, ten bins. */
  readonly calibrationError: Estimate;
  readonly reliability: readonly ReliabilityBin[];
  /** Accuracy if half, or twice, the share of the images were outliers; null without outliers or without members. */
  readonly halfOutliers: number | null;
  readonly doubleOutliers: number | null;
}

/** The methods that a calibration has what they need for, in the order of the table. */
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

/** What must be measured beyond the summaries for these methods. */
export function extrasOf(names: readonly string[]): ExtrasName[] {
  return [...new Set(names.flatMap((name) => methodOf(name).extras ?? []))];
}

interface Judgement {
  readonly label: Label;
  readonly verdict: string;
  readonly confidence: number;
  /** Whether the variant is found when the family is told; null for outliers. */
  readonly variantFound: boolean | null;
}

/** Compares methods (default: all that the calibration has) on the same images. Throws without images. */
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

/** Rules by which an image passes as this family's, and as no other's. */
function only(rules: Rules, family: FamilyName): Rules["families"] {
  return mapFamilies(
    rules.labels.families,
    (name) => ({ ...rules.families[name], threshold: name === family ? null : -Infinity }),
  );
}

function bestVariant({ scores }: Decision, variants: readonly string[]): string {
  return variants.reduce((a, b) => ((scores[b] ?? -1) > (scores[a] ?? -1) ? b : a));
}

/** The evidence as it is where tokens are scored without a class: for methods that are made for that. */
function withoutClass(line: MeasuredLine): MeasuredLine {
  const variants = Object.fromEntries(
    Object.entries(line.variants).map(([label, own]) => {
      const { summaries = {} } = own;
      const mean = summaries["unconditional.mean"] ?? own.meanLogProb;
      return [label, {
        ...own,
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

function shifted(judged: readonly Judgement[], outliers: number | null, members: number | null) {
  if (outliers === null || members === null) return { halfOutliers: null, doubleOutliers: null };
  const own = judged.filter(({ label }) => label === outlierLabel).length / judged.length;
  const at = (rate: number) => rate * outliers + (1 - rate) * members;
  return { halfOutliers: at(own / 2), doubleOutliers: at(Math.min(1, 2 * own)) };
}

/** A column of a table of methods. */
export interface MethodColumn {
  /** In files. */
  readonly name: string;
  /** For people. */
  readonly title: string;
  readonly of: (result: MethodResult) => Estimate;
}

/** Columns of tables of methods: a share of found variants per family of the results. */
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
