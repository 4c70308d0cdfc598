/**
 * A stream of verdicts that is journaled: only a shard's images, content that occurs twice computed once, a row per image
 * kept. What a verdict is, and the pipeline that finds it, come from outside.
 */
import { type EvidenceLine, isUnreadable } from "../evidence.ts";
import type { ImageInput } from "../input.ts";
import { type IdentifiedImage, identify, type Shard } from "./shards.ts";
import type { Evidence, Journal, ResultRow, Session } from "./store.ts";

export interface JournaledOptions {
  readonly journal: Journal;
  readonly evidence: Evidence;
  readonly session: Session;
  readonly shard?: Shard;
  readonly maxPixels?: number;
  /** The pipeline over some images, in their order; it recalls from and remembers in `evidence`. */
  readonly attribute: (images: AsyncIterable<ImageInput>) => AsyncGenerator<EvidenceLine, void, void>;
}

/** Rows per transaction, and how long they wait for one, in milliseconds. What they tell is in the journal before. */
const rowsTogether = 256;
const rowsWait = 1000;

/** Yields a line per image of the shard, in the order of the images. */
export async function* journaled(
  images: Iterable<ImageInput>,
  { journal, evidence, session, shard, maxPixels, attribute }: JournaledOptions,
): AsyncGenerator<EvidenceLine, void, void> {
  /** Images on their way through the pipeline, and twins of them that wait for their numbers. */
  const queue: (IdentifiedImage & { readonly twin: boolean })[] = [];
  const onTheirWay = new Set<string>();
  let rows: ResultRow[] = [];
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
  const keep = (row?: ResultRow) => {
    if (row !== undefined) rows.push(row);
    if (row !== undefined && rows.length < rowsTogether && performance.now() - kept < rowsWait) return;
    evidence.settle(rows.filter(({ line }) => !isUnreadable(line)).map(({ sha256 }) => sha256));
    for (const { line, sha256 } of rows) if (isUnreadable(line)) evidence.giveUp(sha256);
    journal.addResults(session, rows);
    rows = [];
    kept = performance.now();
  };
  const twinsInFront = async function* () {
    for (let item = queue[0]; item?.twin; item = queue[0]) {
      queue.shift();
      for await (const line of attribute(only(item.image))) {
        keep({ line, position: item.position, sha256: item.sha256 });
        yield line;
      }
    }
  };
  for await (const line of attribute(unique())) {
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
