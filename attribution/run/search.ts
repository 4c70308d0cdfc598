/**
 * The pipeline's stage that searches images for poses: for images that need it, tries poses by cheap passes
 * (search/rank.ts) and measures the best ones in full, as images of their own.
 */
import type { ByFamily } from "../../models/family.ts";
import type { PoseEvidence } from "../evidence/evidence.ts";
import type { RgbImage } from "../images/image.ts";
import { ownDecoder } from "../images/decoder/mod.ts";
import { type ImageInput, readContent } from "../images/load.ts";
import { posedImage } from "../images/posed_image.ts";
import { preprocess } from "../images/preprocess.ts";
import { mapFamilies } from "../labels.ts";
import { candidatePoses, type SearchLevel } from "../search/candidates.ts";
import { type FoundPose, posedPixels, type RankOptions, rankPoses } from "../search/rank.ts";
import {
  type FoundPoses,
  isFinished,
  isRead,
  type Item,
  type NetworkOptions,
  posedHash,
  type ReadItem,
} from "./image_state.ts";
import { searchStage } from "./work_stages.ts";
import { yieldToEventLoop } from "../../util/event_loop.ts";

/** Measures images as they are. */
export type MeasureItems = (inputs: readonly ImageInput[]) => Promise<readonly Item[]>;

/** The poses that fit an image, ready to be measured. */
interface Found extends FoundPoses {
  readonly item: ReadItem;
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
  options: NetworkOptions,
  measure: MeasureItems,
): Promise<void> {
  const { search, signal } = options;
  if (search === undefined) return;
  const found: Found[] = [];
  const due = items.filter(({ measured }) => measured.families !== undefined && !isFinished(measured, options));
  const tried = due.filter(({ measured }) => measured.found?.[search.level] === undefined);
  options.work?.expect(searchStage, tried.length, items.filter(({ isRecalled }) => !isRecalled).length);
  try {
    for (const item of due) {
      if (!signal?.aborted) found.push(await findPoses(item, search.level, judging(item, options)));
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
    delete item.measured.found;
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

/** Options with the tokenizers that judge an image: those of its size. */
function judging({ measured }: ReadItem, options: NetworkOptions): NetworkOptions {
  const own = <T>(tokenizers: ByFamily<T>): ByFamily<T> =>
    mapFamilies(Object.keys(measured.families!), (family) => tokenizers[family]);
  const models = {
    tokenizers: own(options.models.tokenizers),
    withVariant: options.models.withVariant.bind(options.models) as NetworkOptions["models"]["withVariant"],
  };
  return { ...options, tokenizers: own(options.tokenizers), models };
}

/** Tries the poses of an image, unless what they gave was kept. Throws Aborted when the signal is aborted. */
async function findPoses(item: ReadItem, level: SearchLevel, options: NetworkOptions): Promise<Found> {
  const { models: { tokenizers } } = options;
  const start = performance.now();
  const image = await readAgain(item.input, options);
  const { measured } = item;
  const known = measured.found?.[level];
  if (known !== undefined) {
    const inputs = await Promise.all(known.poses.map(async (found) => {
      const pixels = await posedPixels(image, found, tokenizers[found.family], rankOptions(level, options));
      return posedInput(image, { ...found, pixels }, item, options);
    }));
    return { ...known, item, inputs };
  }
  const candidates = new Map(imageSizes(options).map((size) => [size, candidatePoses(image, size, level)]));
  const ranked = await rankPoses(image, candidates, rankOptions(level, options));
  const poses = ranked.map(({ pixels: _, ...found }) => found);
  const inputs = ranked.map((found) => posedInput(image, found, item, options));
  const all = [...candidates.values()];
  const found: FoundPoses = {
    poses,
    tried: Math.max(...all.map(({ poses }) => poses.length)),
    logPriorAsItIs: Math.max(...all.map(({ logPriorAsItIs }) => logPriorAsItIs)),
  };
  measured.found = { ...measured.found, [level]: found };
  measured.timings.search = performance.now() - start;
  options.work?.add(searchStage, 1);
  await options.remember?.([measured]);
  return { ...found, item, inputs };
}

function rankOptions(level: SearchLevel, { device, models, plan, work, signal }: NetworkOptions): RankOptions {
  const most = plan.tokenizerBatch;
  return {
    ...{ device, tokenizers: models.tokenizers, level },
    batch: work?.batchOf(searchStage, most) ?? most,
    onPass: async () => {
      await yieldToEventLoop();
      if (signal?.aborted) throw new Aborted();
    },
  };
}

/** The pixels of the whole image. Of an input that has none but those at the networks' sizes, these. */
async function readAgain(input: ImageInput, options: NetworkOptions): Promise<RgbImage> {
  const { maxPixels, decoder = ownDecoder } = options;
  const { decoded } = input;
  if (decoded?.pixels.image !== undefined) return decoded.pixels.image;
  if (decoded !== undefined) {
    const [size] = imageSizes(options);
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
  { input, measured }: ReadItem,
  options: NetworkOptions,
): ImageInput {
  const found = options.tokenizers[family].imageSize;
  const bySize = new Map(
    imageSizes(options).map((size) => [
      size,
      size === found ? pixels : preprocess(posedImage(image, pose, size).image, size),
    ]),
  );
  // The decision reads a pose by the history of the image, so that is also what chooses the transformers.
  const { width, height, facts } = measured;
  const decoded = { sha256: posedHash(measured.sha256, { pose, family }), pixels: { width, height, bySize, facts } };
  return { imageName: input.imageName, class: input.class, decoded };
}

function imageSizes({ tokenizers }: Pick<NetworkOptions, "tokenizers">): number[] {
  return [...new Set(Object.values(tokenizers).map(({ imageSize }) => imageSize))];
}
