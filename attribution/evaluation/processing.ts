/**
 * Verdicts after processing: every image once more after each of some edits, and the figures of each processing, of its
 * sources of outliers, and of all together.
 */
import { formatEdits, type Processing } from "../images/edits/mod.ts";
import type { ImageInput } from "../images/load.ts";
import type { LabelledImage } from "../images/labelled.ts";
import { outlierLabel } from "../labels.ts";
import { equalMassBins, type ReliabilityBin, riskCoverage, tippett, type TippettCurve } from "../metrics/mod.ts";
import { type Headline, headline, headlineBySource, type HeadlineOptions } from "./headline.ts";
import { isRight, type JudgedVerdict } from "./judged.ts";

/** A processed copy of an image. */
export interface Copy {
  /** The image with its edits, under a name of its own. */
  readonly input: ImageInput & LabelledImage;
  /** The image as it was. */
  readonly original: LabelledImage;
  /** What was done to it. */
  readonly group: string;
}

/** What diagrams of a group of verdicts show. */
export interface Curves {
  /** Points of the risk-coverage curve, at most 200: coverage and risk. */
  readonly risk: readonly (readonly [coverage: number, risk: number])[];
  /** Ten bins of equal mass. */
  readonly reliability: readonly ReliabilityBin[];
  /** Tippett curves of at most 200 points each; null if the method gives no ratios. */
  readonly tippett: { readonly members: TippettCurve; readonly outliers: TippettCurve } | null;
}

/** The figures of one processing. */
export interface ProcessingResult {
  /** Name of the processing; `all` for all together. */
  readonly name: string;
  /** For people. */
  readonly title: string;
  /** The edits as text; empty for the images as they are stored. */
  readonly edits: string;
  /** The figures of all images. */
  readonly all: Headline;
  /** By source of outliers: those figures that concern them. */
  readonly sources: Readonly<Record<string, Headline>>;
  readonly curves: Curves;
}

/** The images as they are stored. */
export const untouched: Processing = { name: "none", title: "as stored", edits: [] };

/** Name of the row for all processings together. */
export const together = "all";

/** Every image after every processing, processing by processing. */
export function processedCopies(images: readonly LabelledImage[], processings: readonly Processing[]): Copy[] {
  return processings.flatMap(({ name, edits }) =>
    images.map((original): Copy => ({
      input: { ...original, imageName: `${name}/${original.imageName}`, edits },
      original,
      group: name,
    }))
  );
}

/** The figures of each processing with verdicts, then of all together if there are several. */
export function processingResults(
  processings: readonly Processing[],
  verdicts: ReadonlyMap<string, readonly JudgedVerdict[]>,
  options: HeadlineOptions,
): ProcessingResult[] {
  const rows = processings.filter(({ name }) => verdicts.has(name))
    .map((row) => resultOf(row, verdicts.get(row.name)!, options));
  if (rows.length < 2) return rows;
  const pooled = processings.flatMap(({ name }) => verdicts.get(name) ?? []);
  return [...rows, resultOf({ name: together, title: "all of these", edits: [] }, pooled, options)];
}

function resultOf(
  { name, title, edits }: Processing,
  verdicts: readonly JudgedVerdict[],
  options: HeadlineOptions,
): ProcessingResult {
  return {
    ...{ name, title, edits: edits.length === 0 ? "" : formatEdits(edits) },
    all: headline(verdicts, options),
    sources: headlineBySource(verdicts, options),
    curves: curvesOf(verdicts),
  };
}

/** Largest number of points of a curve. */
const points = 200;

/** What diagrams of these verdicts show. */
export function curvesOf(verdicts: readonly JudgedVerdict[]): Curves {
  const confidence = verdicts.map((item) => item.confidence), right = verdicts.map(isRight);
  const { coverage, risk } = riskCoverage(confidence, right);
  const logs = (isOutlier: boolean) =>
    verdicts.filter(({ label }) => (label === outlierLabel) === isOutlier)
      .map(({ log10LikelihoodRatio = 0 }) => log10LikelihoodRatio);
  const thinnedTippett = (isOutlier: boolean): TippettCurve => {
    const { log10, share } = tippett(logs(isOutlier));
    const kept = thinned(log10.length);
    return { log10: kept.map((i) => log10[i]), share: kept.map((i) => share[i]) };
  };
  const hasRatios = verdicts.some(({ log10LikelihoodRatio }) => log10LikelihoodRatio !== undefined);
  return {
    risk: thinned(risk.length).map((i) => [coverage[i], risk[i]] as const),
    reliability: equalMassBins(confidence, right),
    tippett: hasRatios ? { members: thinnedTippett(false), outliers: thinnedTippett(true) } : null,
  };
}

/** At most `points` indices, evenly spaced, the first and the last among them. */
function thinned(length: number): number[] {
  if (length <= points) return Array.from({ length }, (_, i) => i);
  return Array.from({ length: points }, (_, i) => Math.round(i * (length - 1) / (points - 1)));
}
