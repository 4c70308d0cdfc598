/**
 * A stream of lines that is journaled: only a shard's images, content that occurs twice computed once, what is complete
 * gathered. What a line says, and the pipeline that finds it, come from outside.
 */
import { isUnreadable, type MeasurementLine } from "../../evidence/evidence.ts";
import type { ImageInput } from "../../images/load.ts";
import { type IdentifiedImage, identify, type Shard } from "./shards.ts";
import type { EvidenceCache } from "./store.ts";

/** What was said of an image, its place in the list, and the hash of its content. */
export interface JournaledLine<L extends MeasurementLine> {
  readonly line: L;
  readonly position: number;
  readonly sha256: string;
}

export interface JournaledOptions<L extends MeasurementLine> {
  readonly evidence: EvidenceCache;
  readonly shard?: Shard;
  readonly maxPixels?: number;
  /** The pipeline over some images, in their order; it recalls from and remembers in `evidence`. */
  readonly pipeline: (images: AsyncIterable<ImageInput>) => AsyncGenerator<L, void, void>;
  /** Receives lines whose evidence is in the journal, in their order, some at a time. */
  readonly onKept?: (lines: readonly JournaledLine<L>[]) => void;
}

/** Lines that are kept together, and how long they wait for that, in milliseconds. What they tell is in the journal before. */
const linesTogether = 256;
const linesWait = 1000;

/** Yields a line per image of the shard, in the order of the images. */
export async function* journaled<L extends MeasurementLine>(
  images: Iterable<ImageInput> | AsyncIterable<ImageInput>,
  { evidence, shard, maxPixels, pipeline, onKept }: JournaledOptions<L>,
): AsyncGenerator<L, void, void> {
  /** Images on their way through the pipeline, and twins of them that wait for their numbers. */
  const queue: (IdentifiedImage & { readonly twin: boolean })[] = [];
  const onTheirWay = new Set<string>();
  let lines: JournaledLine<L>[] = [];
  let kept = performance.now();
  const unique = async function* () {
    for await (const item of identify(images, shard, maxPixels)) {
      const twin = onTheirWay.has(item.sha256);
      queue.push({ ...item, twin });
      if (twin) continue;
      // The pipeline asks for more: what it has finished goes into rows of its own, unless all of that was there before.
      if (evidence.unsettled > 0) keep();
      onTheirWay.add(item.sha256);
      yield item.image;
    }
  };
  const keep = (own?: JournaledLine<L>) => {
    if (own !== undefined) lines.push(own);
    if (own !== undefined && lines.length < linesTogether && performance.now() - kept < linesWait) return;
    evidence.settle(lines.filter(({ line }) => !isUnreadable(line)).map(({ sha256 }) => sha256));
    for (const { line, sha256 } of lines) if (isUnreadable(line)) evidence.giveUp(sha256);
    onKept?.(lines);
    lines = [];
    kept = performance.now();
  };
  const twinsInFront = async function* () {
    for (let item = queue[0]; item?.twin; item = queue[0]) {
      queue.shift();
      for await (const line of pipeline(only(item.image))) {
        keep({ line, position: item.position, sha256: item.sha256 });
        yield line;
      }
    }
  };
  for await (const line of pipeline(unique())) {
    yield* twinsInFront();
    // An interrupted pipeline leaves images out.
    let item = queue.shift()!;
    while (item.image.imageName !== line.image) item = queue.shift()!;
    onTheirWay.delete(item.sha256);
    keep({ line, position: item.position, sha256: item.sha256 });
    yield line;
  }
  yield* twinsInFront();
  keep();
}

async function* only(image: ImageInput): AsyncGenerator<ImageInput> {
  yield await Promise.resolve(image);
}
