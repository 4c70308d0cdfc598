/**
 * All methods on the same images: how often each is right, and how far its confidence is to be believed. Measured images and
 * rules in, a table out; measuring is job.ts's business.
 */
import type { Rules } from "../decision/calibration_file.ts";
import { familyLabel } from "../calibration/thresholds.ts";
import { calibrationError, type ReliabilityBin, reliabilityBins } from "../decision/classifiers/confidence.ts";
import type { MeasuredLine } from "../evidence/evidence.ts";
import { familyOf, type Label, variantLabels } from "../labels.ts";
import { bootstrapInterval, type BootstrapOptions } from "../metrics/mod.ts";
import { type Decision, type ExtrasName, type Method, methods, requireMethod } from "../decision/methods.ts";
import type { Estimate } from "./evaluate.ts";

/** An image whose label is known, measured under all variants. */
export interface MeasuredImage {
  readonly label: Label;
  readonly line: MeasuredLine;
}

export interface MethodResult {
  readonly method: string;
  /** Share of nine-way verdicts that are right. */
  readonly accuracy: Estimate;
  readonly familyAccuracy: Estimate;
  /** Of a family's images, the share whose variant is found by a method that is told the family. */
  readonly rarVariants: Estimate;
  readonly varVariants: Estimate;
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
  return Object.keys(methods).filter((name) => {
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
  return [...new Set(names.flatMap((name) => methods[name].extras ?? []))];
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
    const judged = images.map((image) => judge(methods[name], image, rules));
    const over = (items: readonly Judgement[], statistic: (items: readonly Judgement[]) => number | null): Estimate => {
      const groups = [...Map.groupBy(items, ({ label }) => label).values()];
      return {
        value: statistic(items),
        interval: bootstrapInterval(groups, (sample) => statistic(sample.flat()), bootstrap),
      };
    };
    const of = (family: string) => judged.filter(({ label }) => familyLabel(label) === family);
    const isRight = ({ label, verdict }: Judgement) => label === verdict;
    const isOut = ({ verdict }: Judgement) => verdict === "outlier";
    const [confidence, right] = [judged.map((item) => item.confidence), judged.map(isRight)];
    return {
      method: name,
      accuracy: over(judged, (items) => share(items, isRight)),
      familyAccuracy: over(
        judged,
        (items) => share(items, ({ label, verdict }) => familyLabel(label) === familyLabel(verdict as Label)),
      ),
      rarVariants: over(of("rar"), (items) => share(items, ({ variantFound }) => variantFound!)),
      varVariants: over(of("var"), (items) => share(items, ({ variantFound }) => variantFound!)),
      outlierRecall: over(of("outlier"), (items) => share(items, isOut)),
      outlierPrecision: over(judged, (items) => share(items.filter(isOut), isRight)),
      calibrationError: over(
        judged,
        (items) => calibrationError(items.map((item) => item.confidence), items.map(isRight)),
      ),
      reliability: reliabilityBins(confidence, right),
      ...shifted(
        judged,
        share(of("outlier"), isRight),
        share(judged.filter(({ label }) => label !== "outlier"), isRight),
      ),
    };
  });
}

function judge(method: Method, { label, line }: MeasuredImage, rules: Rules): Judgement {
  const evidence = method.condition === undefined ? withoutClass(line) : line;
  const { label: verdict, confidence } = method.decide(evidence, rules);
  if (label === "outlier") return { label, verdict, confidence, variantFound: null };
  const family = familyOf(label);
  const told = method.decide(evidence, { ...rules, families: only(rules, family) });
  return { label, verdict, confidence, variantFound: bestVariant(told, family) === label };
}

/** Rules by which an image passes as this family's, and as no other's. */
function only(rules: Rules, family: string): Rules["families"] {
  const rule = (name: "rar" | "var") => ({ ...rules.families[name], threshold: name === family ? null : -Infinity });
  return { rar: rule("rar"), var: rule("var") };
}

function bestVariant({ scores }: Decision, family: "rar" | "var"): string {
  return variantLabels[family].reduce((a, b) => ((scores[b] ?? -1) > (scores[a] ?? -1) ? b : a));
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
  const own = judged.filter(({ label }) => label === "outlier").length / judged.length;
  const at = (rate: number) => rate * outliers + (1 - rate) * members;
  return { halfOutliers: at(own / 2), doubleOutliers: at(Math.min(1, 2 * own)) };
}

/** Columns of tables of methods, and their titles. */
export const methodColumns = [
  "accuracy",
  "familyAccuracy",
  "rarVariants",
  "varVariants",
  "outlierRecall",
  "outlierPrecision",
  "calibrationError",
] as const;
export const methodTitles: Readonly<Record<(typeof methodColumns)[number], string>> = {
  accuracy: "accuracy, nine labels",
  familyAccuracy: "family accuracy",
  rarVariants: "variant, RAR given",
  varVariants: "variant, VAR given",
  outlierRecall: "outlier recall",
  outlierPrecision: "outlier precision",
  calibrationError: "calibration error",
};
