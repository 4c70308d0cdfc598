/** Facts about an image in words: what happened to it, as far as file and pixels show. */
import type { FileFacts, ImageFacts, Levels } from "./facts.ts";

/** At most so many colours are told: the image has a palette, or is grey. */
const fewColours = 256;

/** Noise is told from here on, in levels. Generated images have less. */
const leastNoise = 0.6;

/**
 * What happened to an image, in phrases such as `JPEG of quality 75, 4:2:0`. Empty where nothing is known to have
 * happened, as for a plain PNG.
 *
 * @example
 * ```ts
 * import { describeFacts } from "@model-tracer/model-tracer/attribution";
 *
 * console.log(describeFacts({ colours: 64, noise: 0.4, contrast: 31 })); // [ "64 colours" ]
 * ```
 */
export function describeFacts(facts: ImageFacts): string[] {
  const { file, earlierJpeg, earlierWebp, resampling, levels, picture, noise, colours } = facts;
  return [
    ...file === undefined ? [] : describeFile(file),
    ...earlierJpeg === undefined ? [] : [describeEarlier(earlierJpeg)],
    ...earlierWebp === undefined ? [] : ["earlier WebP with loss"],
    ...resampling === undefined ? [] : [describeResampling(resampling)],
    ...levels === undefined ? [] : [describeLevels(levels)],
    ...picture === undefined ? [] : [`canvas of one colour around ${picture.width}x${picture.height} pixels`],
    ...noise < leastNoise ? [] : [`noise of ${noise.toFixed(1)} levels`],
    ...colours > fewColours ? [] : [colours === 1 ? "one colour" : `${colours} colours`],
  ];
}

function describeFile({ format, jpeg, lossless, depth, transparency, pictures, orientation, software }: FileFacts) {
  return [
    ...jpeg === undefined ? [] : [describeJpeg(jpeg)],
    ...format === "webp" ? [lossless ? "WebP without loss" : "WebP with loss"] : [],
    ...depth > 8 ? [`${depth} bits per channel`] : [],
    ...transparency ? ["transparency"] : [],
    ...pictures > 1 ? [`${pictures} pictures in the file`] : [],
    ...orientation === undefined || orientation === 1 ? [] : [`EXIF orientation ${orientation}`],
    ...software === undefined ? [] : [`written by ${software}`],
  ];
}

function describeJpeg({ quality, nearestQuality, subsampling }: NonNullable<FileFacts["jpeg"]>): string {
  const near = quality === null && nearestQuality !== undefined ? ` of quality near ${nearestQuality}` : "";
  return `JPEG${ofQuality(quality)}${near}, ${subsampling === "1" ? "grey" : subsampling}`;
}

function describeEarlier({ quality, grid = { left: 0, top: 0 } }: NonNullable<ImageFacts["earlierJpeg"]>): string {
  return `earlier JPEG${ofQuality(quality)}${grid.left + grid.top === 0 ? "" : ", cropped since"}`;
}

function ofQuality(quality: number | null): string {
  return quality === null ? "" : ` of quality ${quality}`;
}

function describeResampling({ factor, kind }: NonNullable<ImageFacts["resampling"]>): string {
  if (factor === null || factor === 1) {
    return kind === "no-detail" ? "no fine detail: enlarged or blurred" : "resampled";
  }
  return factor > 1 ? `enlarged ${Number(factor.toFixed(2))} times` : `reduced to ${Math.round(100 * factor)} %`;
}

function describeLevels({ gain, offset }: Levels): string {
  const shift = Number(offset.toFixed(1));
  const change = Math.round(100 * (gain - 1));
  const scaled = change === 0 ? "" : ` by ${change > 0 ? "+" : ""}${change} %`;
  const moved = shift === 0 ? "" : `${scaled === "" ? " by" : " and"} ${shift > 0 ? "+" : ""}${shift} levels`;
  return `brightness or contrast changed${scaled}${moved}`;
}
