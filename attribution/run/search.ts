/**
 * The pipeline's stage that searches images for poses: for images that need it, tries poses by cheap passes
 * (search/rank.ts) and measures the best ones in full, as images of their own.
 */
import type { PoseEvidence } from "../evidence/evidence.ts";
import type { RgbImage } from "../images/image.ts";
import { ownDecoder } from "../images/decoder/mod.ts";
import { type ImageInput, readContent } from "../images/load.ts";
import { posedImage } from "../images/posed_image.ts";
import { preprocess } from "../images/preprocess.ts";
import { candidatePoses, type SearchLevel } from "../search/candidates.ts";
import { type FoundPose, rankPoses } from "../search/rank.ts";
import {
  isFinished,
  isRead,
  type Item,
  type Networks,
  type ReadItem,
  type StreamOptions,
  yieldToEventLoop,
} from "./image_state.ts";

/** Measures images as they are, without keeping the results. */
export type MeasureItems = (inputs: readonly ImageInput[]) => Promise<readonly Item[]>;

/** The poses that fit an image. */
interface Found {
  readonly item: ReadItem;
  /** Number of poses that were tried. */
  readonly tried: number;
  readonly logPriorAsItIs: number;
  readonly poses: readonly FoundPose[];
  readonly inputs: readonly ImageInput[];
}

/** Why a search ends early. */
class Aborted extends Error {}

/**
 * Searches the images that need it, and puts what was found into their measurements. When the signal is aborted,
 * returns with some images not searched.
 */
export async function searchPoses(
  items: readonly ReadItem[],
  options: StreamOptions,
  measure: MeasureItems,
): Promise<void> {
  const { search, signal } = options;
  if (search === undefined) return;
  const found: Found[] = [];
  try {
    for (const item of items) {
      const isDue = item.measured.families !== undefined && !isFinished(item.measured, options);
      if (isDue && !signal?.aborted) found.push(await findPoses(item, search.level, options));
    }
  } catch (error) {
    if (!(error instanceof Aborted)) throw error;
  }
  const start = performance.now();
  const measured = await measure(found.flatMap(({ inputs }) => inputs));
  if (signal?.aborted) return;
  const posed = measured.filter(isRead).map((item) => item.measured);
  const elapsed = (performance.now() - start) / Math.max(1, posed.length);
  let at = 0;
  for (const { item, tried, logPriorAsItIs, poses } of found) {
    const evidence = poses.map(({ pose, logPrior, family, contrast }): PoseEvidence => {
      const { families, classes, variants } = posed[at++];
      return { pose, logPrior, family, contrast, families: families!, ...classes && { classes }, variants };
    });
    const { searches, timings } = item.measured;
    item.measured.searches = {
      ...searches,
      [search.level]: { level: search.level, tried, logPriorAsItIs, poses: evidence },
    };
    timings.search = (timings.search ?? 0) + elapsed * poses.length;
  }
  if (found.length > 0) await options.remember?.(found.map(({ item }) => item.measured));
}

/** Tries the poses of an image. Throws Aborted when the signal is aborted. */
async function findPoses(item: ReadItem, level: SearchLevel, options: StreamOptions): Promise<Found> {
  const { device, models: { tokenizers }, plan, signal } = options;
  const start = performance.now();
  const image = await readAgain(item.input, options);
  const candidates = new Map(imageSizes(options.models).map((size) => [size, candidatePoses(image, size, level)]));
  const poses = await rankPoses(image, candidates, {
    ...{ device, tokenizers, level },
    batch: plan.tokenizerBatch,
    onPass: async () => {
      await yieldToEventLoop();
      if (signal?.aborted) throw new Aborted();
    },
  });
  const inputs = poses.map((pose, i) => posedInput(image, pose, `${item.measured.sha256} ${i}`, item, options.models));
  const all = [...candidates.values()];
  item.measured.timings.search = performance.now() - start;
  return {
    ...{ item, poses, inputs },
    tried: Math.max(...all.map(({ poses }) => poses.length)),
    logPriorAsItIs: Math.max(...all.map(({ logPriorAsItIs }) => logPriorAsItIs)),
  };
}

/** The pixels of the whole image. Of an input that has none but those at the networks' sizes, these. */
async function readAgain(input: ImageInput, options: StreamOptions): Promise<RgbImage> {
  const { models, maxPixels, decoder = ownDecoder } = options;
  const { decoded } = input;
  if (decoded?.pixels.image !== undefined) return decoded.pixels.image;
  if (decoded !== undefined) {
    const [size] = imageSizes(models);
    const data = Uint8Array.from(decoded.pixels.bySize.get(size)!, (value) => Math.round(255 * value));
    return { width: size, height: size, data };
  }
  const { bytes } = await readContent(input, maxPixels);
  return await decoder.stored(input, bytes, maxPixels);
}

/** A pose as an image of its own: filled in at its family's image size, as posedImage() has it at others. */
function posedInput(
  image: RgbImage,
  { pose, family, pixels }: FoundPose,
  name: string,
  { input, measured }: ReadItem,
  models: Networks,
): ImageInput {
  const found = models.tokenizers[family].imageSize;
  const bySize = new Map(
    imageSizes(models).map((size) => [
      size,
      size === found ? pixels : preprocess(posedImage(image, pose, size).image, size),
    ]),
  );
  // The decision reads a pose by the history of the image, so that is also what chooses the transformers.
  const { width, height, facts } = measured;
  const decoded = { sha256: name, pixels: { width, height, bySize, facts } };
  return { imageName: input.imageName, class: input.class, decoded };
}

function imageSizes({ tokenizers }: Networks): number[] {
  return [...new Set(Object.values(tokenizers).map(({ imageSize }) => imageSize))];
}
