/**
 * A baseline that sees no pixel: it guesses labels from container format, width, height and file length. Where it is
 * better than chance, the files of different labels look different from outside, as PNG fakes against JPEG photographs
 * do, and other figures may rest on that.
 */
import { groupOf, type Label, type Labels, outlierLabel } from "../labels.ts";
import { clusteredRate } from "../metrics/mod.ts";
import type { Estimate } from "./evaluate.ts";

/** What the baseline sees of an image. */
export interface FileLook {
  /** Container format. */
  readonly format: string;
  /** In pixels. */
  readonly width: number;
  /** In pixels. */
  readonly height: number;
  /** Length of the file. */
  readonly bytes: number;
  /** The true label. */
  readonly label: Label;
  /** Where the image is from, such as the generator of an outlier. */
  readonly source: string;
  /** The original that the image was made from. */
  readonly picture: string;
}

/** How often the baseline is right. */
export interface BaselineResult {
  /** Share of right guesses. */
  readonly accuracy: Estimate;
  /** Share of the most frequent answer: what guessing that alone gives. */
  readonly chance: number;
  /** Whether the interval of the accuracy lies above chance. */
  readonly isBetter: boolean;
}

/** The baseline for each question. */
export interface ZeroPixels {
  /** Which label. */
  readonly labels: BaselineResult;
  /** Which family, or outlier. */
  readonly families: BaselineResult;
  /** Outlier or not. */
  readonly outliers: BaselineResult;
}

/** Number of neighbours that vote. */
const neighbours = 9;

/** The baseline on images of a set's labels. Throws a RangeError without images. */
export function zeroPixels(files: readonly FileLook[], labels: Labels): ZeroPixels {
  if (files.length === 0) throw new RangeError("zeroPixels: expected at least one image, got none");
  const nearest = nearestFiles(files);
  const ask = (answer: (label: Label) => string) => baseline(files, nearest, files.map(({ label }) => answer(label)));
  return {
    labels: ask((label) => label),
    families: ask((label) => groupOf(labels, label)),
    outliers: ask((label) => label === outlierLabel ? outlierLabel : "member"),
  };
}

/** Guesses each answer by the vote of the nearest files; of equal votes, the answer of the nearer file wins. */
function baseline(files: readonly FileLook[], nearest: readonly number[][], truth: readonly string[]): BaselineResult {
  const hits = nearest.map((indices, i) => {
    const votes = new Map<string, number>();
    for (const index of indices) votes.set(truth[index], (votes.get(truth[index]) ?? 0) + 1);
    const [guess] = [...votes].reduce((a, b) => b[1] > a[1] ? b : a, ["", 0]);
    return guess === truth[i];
  });
  const rate = clusteredRate(hits, files.map(({ label, picture }) => `${label} ${picture}`))!;
  const chance = Math.max(...[...Map.groupBy(truth, (answer) => answer).values()].map(({ length }) => length)) /
    truth.length;
  return { accuracy: rate, chance, isBetter: rate.interval.low > chance };
}

/** Of every file the nearest ones of other pictures, the nearest first. */
function nearestFiles(files: readonly FileLook[]): number[][] {
  const formats = [...new Set(files.map(({ format }) => format))];
  const looks = files.map(({ format, width, height, bytes }) => [
    formats.indexOf(format),
    Math.log(width),
    Math.log(height),
    Math.log(bytes),
  ]);
  return files.map(({ picture }, i) => {
    const distances: number[] = [], indices: number[] = [];
    for (let j = 0; j < files.length; j++) {
      if (j === i || files[j].picture === picture) continue;
      const distance = distanceOf(looks[i], looks[j]);
      if (indices.length === neighbours && distance >= distances[neighbours - 1]) continue;
      let place = Math.min(indices.length, neighbours - 1);
      for (; place > 0 && distances[place - 1] > distance; place--) {
        distances[place] = distances[place - 1];
        indices[place] = indices[place - 1];
      }
      distances[place] = distance;
      indices[place] = j;
    }
    return indices;
  });
}

/** Another format or size is farther than any difference in length. */
function distanceOf(a: readonly number[], b: readonly number[]): number {
  return (a[0] === b[0] ? 0 : 1000) + 100 * (Math.abs(a[1] - b[1]) + Math.abs(a[2] - b[2])) + Math.abs(a[3] - b[3]);
}

/** A warning for each question that the baseline answers better than chance. */
export function zeroPixelWarnings({ labels, families, outliers }: ZeroPixels): string[] {
  const percent = (share: number) => `${(100 * share).toFixed(1)} %`;
  return ([["the labels", labels], ["the families", families], ["outliers from generated images", outliers]] as const)
    .filter(([, { isBetter }]) => isBetter)
    .map(([what, { accuracy, chance }]) =>
      `File format, size and length alone tell ${what} in ${
        percent(accuracy.value!)
      } of the images (the most frequent ` +
      `answer: ${percent(chance)}): other figures may rest on how files were stored, or how well they compress.`
    );
}
