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
import { type FileLook, type ZeroPixels, zeroPixels } from "./zero_pixels.ts";

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

/** Figures of some images, beside those of a rule that sees none of their pixels. */
export interface Compared {
  readonly all: Headline;
  /** The baseline that sees no pixel, on these images' files. Absent where they are not known. */
  readonly zeroPixels?: ZeroPixels;
}

/** The figures of one processing. */
export interface ProcessingResult extends Compared {
  /** Name of the processing; `all` for all together. */
  readonly name: string;
  /** For people. */
  readonly title: string;
  /** The edits as text; empty for the images as they are stored. */
  readonly edits: string;
  /** The same without the outliers of `ResultOptions.strangers`; absent where no source is named. */
  readonly ordinary?: Compared;
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

/** What the results of processings depend on beside the verdicts. */
export interface ResultOptions extends HeadlineOptions {
  /**
   * Sources of outliers that went through a family's tokenizer, whose right finding is `family`. The figures without
   * them are given as well.
   */
  readonly strangers?: readonly string[];
  /** By processing, what the files of its images look like. */
  readonly looks?: ReadonlyMap<string, readonly FileLook[]>;
}

/** The figures of each processing with verdicts, then of all together if there are several. */
export function processingResults(
  processings: readonly Processing[],
  verdicts: ReadonlyMap<string, readonly JudgedVerdict[]>,
  options: ResultOptions,
): ProcessingResult[] {
  const judged = processings.filter(({ name }) => verdicts.has(name));
  const looksOf = (name: string) => options.looks?.get(name) ?? [];
  const rows = judged.map((row) => resultOf(row, verdicts.get(row.name)!, looksOf(row.name), options));
  if (rows.length < 2) return rows;
  const pooled = judged.flatMap(({ name }) => verdicts.get(name)!);
  const looks = judged.flatMap(({ name }) => looksOf(name));
  return [...rows, resultOf({ name: together, title: "all of these", edits: [] }, pooled, looks, options)];
}

function resultOf(
  { name, title, edits }: Processing,
  verdicts: readonly JudgedVerdict[],
  looks: readonly FileLook[],
  options: ResultOptions,
): ProcessingResult {
  const { strangers = [] } = options;
  const isOrdinary = ({ source }: { readonly source: string }) => !strangers.includes(source);
  return {
    ...{ name, title, edits: edits.length === 0 ? "" : formatEdits(edits) },
    ...compared(verdicts, looks, options),
    ...strangers.length > 0 && { ordinary: compared(verdicts.filter(isOrdinary), looks.filter(isOrdinary), options) },
    sources: headlineBySource(verdicts, options),
    curves: curvesOf(verdicts),
  };
}

function compared(
  verdicts: readonly JudgedVerdict[],
  looks: readonly FileLook[],
  options: HeadlineOptions,
): Compared {
  return {
    all: headline(verdicts, options),
    ...looks.length > 0 && { zeroPixels: zeroPixels(looks, options.labels) },
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
