/** Computes all facts about an image. Each has a file of its own. */
import type { RgbImage } from "../image.ts";
import { readSegments } from "../jpeg_segments.ts";
import { fileFacts, stepsOf } from "./container.ts";
import { compressionBeforeLast, type Earlier, earlierCompression } from "./earlier.ts";
import type { FileFacts, ImageFacts } from "./facts.ts";
import { levelsOf } from "./levels.ts";
import { lumaTiles } from "./luma.ts";
import { contrastOf, countColours, noiseOf } from "./statistics.ts";
import { unsuitableFor } from "./unsuitable.ts";

/**
 * Facts about an image: `bytes` are those of its file, undefined for one that was given as pixels; `nativeSizes` are the
 * image sizes that the networks take. The result depends on nothing else. Large images are sampled, so that the time does
 * not grow with the image. Throws UnreadableImageError for bytes that decodeImage() does not decode.
 */
export function imageFacts(
  bytes: Uint8Array | undefined,
  image: RgbImage,
  nativeSizes: readonly number[],
): ImageFacts {
  const file = bytes && fileFacts(bytes);
  const earlier = earlierOf(file, bytes, image);
  const tiles = lumaTiles(image);
  const contrast = contrastOf(tiles);
  const unsuitable = unsuitableFor(image, { contrast }, nativeSizes);
  const levels = levelsOf(image);
  return {
    ...file && { file },
    ...levels && { levels },
    ...earlier,
    ...{ colours: countColours(image), noise: noiseOf(tiles), contrast },
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
