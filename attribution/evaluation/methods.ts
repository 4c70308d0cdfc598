/**
 * Compares methods on the same measured images: how often each is right, and what its confidence says. Images are
 * judged as they are, without the search for other poses. run_evaluation.ts measures the images.
 */
import type { Rules } from "../decision/calibration_file.ts";
import type { MeasuredLine } from "../evidence/evidence.ts";
import { groupOf, type Label, mapFamilies, outlierLabel } from "../labels.ts";
import { familyNamed } from "../../models/registry.ts";
import type { ByFamily, FamilyName } from "../../models/family.ts";
import { type BootstrapOptions, clusteredRate } from "../metrics/mod.ts";
import {
  decide,
  decidingMethods,
  type Decision,
  type ExtrasName,
  methodOf,
  requireMethod,
} from "../decision/methods.ts";
import type { Estimate } from "./evaluate.ts";
import { aboutFigure, type FigureName } from "./figures.ts";
import { headline } from "./headline.ts";
import { type Curves, curvesOf } from "./processing.ts";
import { isRight, type JudgedVerdict, judgedVerdict } from "./judged.ts";

/** A labelled image with the likelihoods of all variants. */
export interface MeasuredImage {
  readonly label: Label;
  /** The original that the image was made from. Default: an original of its own. */
  readonly picture?: string;
  readonly line: MeasuredLine;
}

/** How good a method is. */
export interface MethodResult {
  readonly method: string;
  /** All figures of its verdicts. */
  readonly figures: Readonly<Record<FigureName, Estimate>>;
  /** By family: the share of its images whose variant the method finds when it is told the family. */
  readonly variants: ByFamily<Estimate>;
  readonly outlierPrecision: Estimate;
  /** What diagrams of its verdicts show. */
  readonly curves: Curves;
  /** Accuracy if the share of outliers were half or twice as large; null without outliers or without members. */
  readonly halfOutliers: number | null;
  readonly doubleOutliers: number | null;
}

/** Names of the methods that the calibration allows, in the order of registration. */
export function knownMethods(rules: Rules): string[] {
  return decidingMethods().filter((name) => {
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

interface Judgement extends JudgedVerdict {
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
  const { labels } = rules;
  return names.map((name) => {
    const judged = images.map((image) => judge(name, image, rules));
    const of = (group: string) => judged.filter(({ label }) => groupOf(labels, label) === group);
    const members = judged.filter(({ label }) => label !== outlierLabel);
    return {
      method: name,
      figures: headline(judged, { labels, bootstrap }).figures,
      variants: mapFamilies(labels.families, (family) => rate(of(family), ({ variantFound }) => variantFound!)),
      outlierPrecision: rate(judged.filter(({ verdict }) => verdict === outlierLabel), isRight),
      curves: curvesOf(judged),
      ...shifted(judged, rate(of(outlierLabel), isRight).value, rate(members, isRight).value),
    };
  });
}

function judge(name: string, { label, picture, line }: MeasuredImage, rules: Rules): Judgement {
  const method = methodOf(name);
  const evidence = method.condition === undefined ? withoutClass(line) : line;
  const image = { imageName: line.image, label, source: label, picture };
  const verdict = judgedVerdict(image, decide(name, evidence, rules, 0));
  const family = rules.labels.familyOf(label);
  if (family === null) return { ...verdict, variantFound: null };
  if (!(family in line.families)) return { ...verdict, variantFound: false };
  const told = method.decide(evidence, { ...rules, families: only(rules, family) });
  return { ...verdict, variantFound: bestVariant(told, rules.labels.variants[family]) === label };
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

function rate(items: readonly Judgement[], is: (item: Judgement) => boolean): Estimate {
  return clusteredRate(items.map(is), items.map(({ label, picture }) => `${label} ${picture}`)) ??
    { value: null, interval: null };
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
  readonly unit: "share" | "number";
  readonly of: (result: MethodResult) => Estimate;
}

/** The figures of a table of methods. */
const methodFigures: readonly FigureName[] = [
  ...["accuracy", "familyAccuracy", "outlierRecall", "accused", "exonerated"] as const,
  ...["auroc", "accuracyAt80", "accuracyAt90", "aurc", "brier", "constantBrier"] as const,
  ...["calibrationError", "constantCalibrationError", "cllr", "minCllr"] as const,
];

/** Columns of tables of methods; one for the variants of each family in the results. */
export function methodColumns(results: readonly MethodResult[]): readonly MethodColumn[] {
  const families = Object.keys(results[0]?.variants ?? {});
  const columns = methodFigures.map((name): MethodColumn => ({
    ...aboutFigure(name),
    name,
    of: ({ figures }) => figures[name],
  }));
  return [
    ...columns.slice(0, 2),
    ...families.map((family): MethodColumn => ({
      name: `${family}Variants`,
      title: `variant, ${familyNamed(family).title} given`,
      unit: "share",
      of: ({ variants }) => variants[family],
    })),
    ...columns.slice(2, 3),
    {
      name: "outlierPrecision",
      title: "outlier precision",
      unit: "share",
      of: ({ outlierPrecision }) => outlierPrecision,
    },
    ...columns.slice(3),
  ];
}
