/**
 * The figures by which verdicts are judged, as data: what each is called and what it says. headline.ts computes them;
 * tables, files and diagrams take their columns from here.
 */

/** How a figure is shown. */
export interface FigureAbout {
  /** In tables for people. */
  readonly title: string;
  /** One sentence. */
  readonly about: string;
  /** A share of images, or a number. */
  readonly unit: "share" | "number";
  /** Whether it is also given for each source of outliers. */
  readonly bySource?: true;
}

/** What an outlier is, wherever figures name it. */
export const outlierAbout =
  "An outlier is an image that no model of the set made: a photograph, or an image of another generator.";

/** All figures, in the order of tables. Names are those of JSON and CSV. */
export const figureTable = {
  accuracy: {
    title: "labels right",
    about: "Share of images whose label is right, among all labels of the set and outlier.",
    unit: "share",
  },
  membersRight: {
    title: "generated images' labels right",
    about: "Share of the set's own images whose label is right.",
    unit: "share",
  },
  familyAccuracy: {
    title: "families right",
    about: "Share of images whose family is right, or that are rightly called outlier.",
    unit: "share",
  },
  outlierRecall: {
    title: "outliers called outlier",
    about: "Share of the outliers with the label outlier.",
    unit: "share",
    bySource: true,
  },
  accused: {
    title: "outliers named a model",
    about: "False accusation: share of the outliers with the finding that a model of the set made them.",
    unit: "share",
    bySource: true,
  },
  surelyAccused: {
    title: "named one at 0.9 or more",
    about: "Share of the outliers that are so accused with a confidence of at least 0.9.",
    unit: "share",
    bySource: true,
  },
  surelyNamed: {
    title: "labelled as one at 0.9 or more",
    about: "Share of the outliers whose label is a model's with a confidence of at least 0.9, whatever the finding.",
    unit: "share",
    bySource: true,
  },
  outliersFamily: {
    title: "outliers called family",
    about: "Share of the outliers that are found to fit a family's tokenizer without a settled model of it.",
    unit: "share",
    bySource: true,
  },
  exonerated: {
    title: "generated images called none",
    about: "False exoneration: share of the set's own images with the finding that no known model left a trace.",
    unit: "share",
  },
  surelyExonerated: {
    title: "called none at 0.9 or more",
    about: "Share of the set's own images that are so exonerated with a confidence of at least 0.9.",
    unit: "share",
  },
  inconclusive: {
    title: "inconclusive",
    about: "Share of images of which the tool says that it cannot tell, because what happened to them hides traces.",
    unit: "share",
  },
  outliersInconclusive: {
    title: "outliers inconclusive",
    about: "Share of the outliers of which the tool says that it cannot tell.",
    unit: "share",
    bySource: true,
  },
  auroc: {
    title: "AUROC of the confidence",
    about: "Probability that a right verdict has a higher confidence than a wrong one; a constant has 0.5.",
    unit: "number",
  },
  accuracyAt80: {
    title: "right at 80 % coverage",
    about: "Share of right labels among the 80 % of images with the highest confidence.",
    unit: "share",
  },
  accuracyAt90: {
    title: "right at 90 % coverage",
    about: "Share of right labels among the 90 % of images with the highest confidence.",
    unit: "share",
  },
  aurc: {
    title: "AURC",
    about: "Mean share of wrong labels over all coverages, the most confident first; a constant has the share of all.",
    unit: "number",
  },
  brier: {
    title: "Brier score",
    about: "Mean squared distance of the confidence from being right (1) or wrong (0).",
    unit: "number",
  },
  constantBrier: {
    title: "Brier score of a constant",
    about: "The Brier score if every image had the mean confidence.",
    unit: "number",
  },
  calibrationError: {
    title: "calibration error",
    about: "Mean distance between confidence and share of right labels, in ten bins of equal mass.",
    unit: "share",
  },
  constantCalibrationError: {
    title: "error of a constant",
    about: "The calibration error if every image had the mean confidence; a small one alone says little.",
    unit: "share",
  },
  cllr: {
    title: "Cllr",
    about:
      "Cost of the likelihood ratios in bits: 0 for perfect ones, 1 for ratios that say nothing, more if they mislead.",
    unit: "number",
    bySource: true,
  },
  minCllr: {
    title: "least Cllr",
    about: "The Cllr after the best rising map of the ratios: what they cannot tell apart.",
    unit: "number",
    bySource: true,
  },
  membersBelow1: {
    title: "generated, LR < 1",
    about: "Share of the set's own images whose likelihood ratio speaks for outlier.",
    unit: "share",
  },
  membersBelow01: {
    title: "generated, LR < 0.1",
    about: "Share of the set's own images whose likelihood ratio speaks for outlier by more than ten to one.",
    unit: "share",
  },
  outliersAbove1: {
    title: "outliers, LR > 1",
    about: "Share of the outliers whose likelihood ratio speaks for a model of the set.",
    unit: "share",
    bySource: true,
  },
  outliersAbove10: {
    title: "outliers, LR > 10",
    about: "Share of the outliers whose likelihood ratio speaks for a model of the set by more than ten to one.",
    unit: "share",
    bySource: true,
  },
} as const satisfies Readonly<Record<string, FigureAbout>>;

/** Name of a figure. */
export type FigureName = keyof typeof figureTable;

/** Names of all figures, in the order of tables. */
export const figureNames = Object.keys(figureTable) as FigureName[];

/** What a figure is called and says. */
export function aboutFigure(name: FigureName): FigureAbout {
  return figureTable[name];
}

/** The figures that are also given for each source of outliers. */
export const sourceFigureNames: readonly FigureName[] = figureNames.filter((name) => aboutFigure(name).bySource);
