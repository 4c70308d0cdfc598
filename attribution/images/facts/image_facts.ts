/** Computes all facts about an image. Each has a file of its own. */
import type { RgbImage } from "../image.ts";
import { readSegments } from "../jpeg_segments.ts";
import { bandwidthOf } from "./bandwidth.ts";
import { pictureOf } from "./canvas.ts";
import { fileFacts, stepsOf } from "./container.ts";
import { compressionBeforeLast, type Earlier, earlierCompression } from "./earlier.ts";
import type { FileFacts, ImageFacts } from "./facts.ts";
import { levelsOf } from "./levels.ts";
import { lumaTiles } from "./luma.ts";
import { nativeSize } from "./native_size.ts";
import { resamplingOf } from "./resampling.ts";
import { contrastOf, countColours, noiseOf } from "./statistics.ts";
import { unsuitableFor } from "./unsuitable.ts";

/**
 * Version of the rules. Raise it when facts change; facts of other versions in a journal are found again
 * (run/pipeline.ts). Levels are undone before an image is measured: when their rules change, raise `measuringVersion`
 * as well.
 */
export const factsVersion = 2;

/**
 * Facts about an image: `bytes` are those of its file, undefined for one that was given as pixels; `nativeSizes` are
 * the image sizes that the networks take. The result depends on nothing else. Large images are sampled, so that the
 * time does not grow with the image. Throws UnreadableImageError for bytes that decodeImage() does not decode.
 */
export function imageFacts(
  bytes: Uint8Array | undefined,
  image: RgbImage,
  nativeSizes: readonly number[],
): ImageFacts {
  const file = bytes && fileFacts(bytes);
  const earlier = earlierOf(file, bytes, image);
  const tiles = lumaTiles(image), colours = countColours(image), contrast = contrastOf(tiles);
  const coded = file?.jpeg !== undefined || file?.lossless === false || Object.keys(earlier).length > 0;
  const bandwidth = bandwidthOf(tiles[0]), side = Math.min(image.width, image.height);
  const picture = pictureOf(image);
  // The border of a canvas is no detail of the picture.
  const resampling = picture ? undefined : resamplingOf(tiles[0], { bandwidth, coded, side, nativeSizes });
  const levels = levelsOf(image);
  const unsuitable = unsuitableFor(image, { contrast, picture }, nativeSizes);
  return {
    version: factsVersion,
    ...file && { file },
    ...levels && { levels },
    ...earlier,
    ...resampling && { resampling },
    ...bandwidth !== undefined && { bandwidth },
    ...picture && { picture },
    ...nativeSizes.length > 1 && { native: nativeSize(nativeSizes, image, { picture, resampling }) },
    ...{ colours, noise: noiseOf(tiles), contrast },
    ...unsuitable && { unsuitable },
  };
}

/** A JPEG shows traces of itself everywhere, so there only coarser steps than its own tell. WebP hides what was before. */
function earlierOf(file: FileFacts | undefined, bytes: Uint8Array | undefined, image: RgbImage): Earlier {
  if (file?.format === "jpeg") {
    const { luma } = stepsOf(readSegments(bytes!));
    return luma === undefined ? {} : compressionBeforeLast(image, luma);
  }
  return file?.lossless === false ? {} : earlierCompression(image);
}
