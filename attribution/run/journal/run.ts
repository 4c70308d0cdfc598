/**
 * Runs a pipeline with a journal: selects the images of a shard, measures images with the same content once, and stores
 * complete evidence.
 */
import { isUnreadable, type MeasurementLine } from "../../evidence/evidence.ts";
import { ContentHashes } from "../../images/content_hashes.ts";
import type { ImageInput } from "../../images/load.ts";
import { type IdentifiedImage, identify, type Shard } from "./shards.ts";
import type { EvidenceCache } from "./evidence_cache.ts";

/** The line of an image. */
export interface JournaledLine<L extends MeasurementLine> {
  readonly line: L;
  /** Of the image in the whole list, from 0. */
  readonly position: number;
  /** Of its content. */
  readonly sha256: string;
}

/** Options of `journaled`. */
export interface JournaledOptions<L extends MeasurementLine> {
  /** Where evidence is stored. */
  readonly evidence: EvidenceCache;
  /** Default: all images. */
  readonly shard?: Shard;
  readonly maxPixels?: number;
  /** Hashes of images that were found before. Default: none. */
  readonly hashes?: ContentHashes;
  /** Yields a line per image in their order. Recalls from and remembers in `evidence`. */
  readonly pipeline: (images: AsyncIterable<ImageInput>) => AsyncGenerator<L, void, void>;
  /** Receives lines in groups, in their order, once their evidence is in the journal. */
  readonly onKept?: (lines: readonly JournaledLine<L>[]) => void;
}

/** Lines are stored in groups of this size, or after so many milliseconds. Their measurements are stored before. */
const groupSize = 256;
const groupMilliseconds = 1000;

/** Yields a line per image of the shard, in the order of the images. */
export async function* journaled<L extends MeasurementLine>(
  images: Iterable<ImageInput> | AsyncIterable<ImageInput>,
  { evidence, shard, maxPixels, hashes = new ContentHashes(), pipeline, onKept }: JournaledOptions<L>,
): AsyncGenerator<L, void, void> {
  /** Images in the pipeline, in order, and twins (images with the same content) that wait for their measurements. */
  const queue: (IdentifiedImage & { readonly twin: boolean })[] = [];
  const inPipeline = new Set<string>();
  let lines: JournaledLine<L>[] = [];
  let flushed = performance.now();
  const unique = async function* () {
    for await (const item of identify(images, shard, hashes, maxPixels)) {
      const twin = inPipeline.has(item.sha256);
      queue.push({ ...item, twin });
      if (twin) continue;
      // The pipeline has finished a chunk when it asks for more images: store its evidence, if any is new.
      if (lines.length > 0 && evidence.unsettled > 0) flush();
      inPipeline.add(item.sha256);
      yield item.image;
    }
  };
  const flush = () => {
    evidence.settle(lines.filter(({ line }) => !isUnreadable(line)).map(({ sha256 }) => sha256));
    for (const { line, sha256 } of lines) if (isUnreadable(line)) evidence.giveUp(sha256);
    onKept?.(lines);
    lines = [];
    flushed = performance.now();
  };
  const add = (line: L, { position, sha256 }: IdentifiedImage) => {
    lines.push({ line, position, sha256 });
    if (lines.length >= groupSize || performance.now() - flushed >= groupMilliseconds) flush();
  };
  const leadingTwins = async function* () {
    for (let item = queue[0]; item?.twin; item = queue[0]) {
      queue.shift();
      for await (const line of pipeline(only(item.image))) {
        add(line, item);
        yield line;
      }
    }
  };
  for await (const line of pipeline(unique())) {
    yield* leadingTwins();
    // A pipeline that was interrupted has left images out.
    let item = queue.shift()!;
    while (item.image.imageName !== line.image) item = queue.shift()!;
    inPipeline.delete(item.sha256);
    add(line, item);
    yield line;
  }
  yield* leadingTwins();
  flush();
}

async function* only(image: ImageInput): AsyncGenerator<ImageInput> {
  yield await Promise.resolve(image);
}
