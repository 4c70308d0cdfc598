/** Counts the images of a run that the journal has already, before anything is opened. */
import { ContentHashes } from "../images/content_hashes.ts";
import type { ImageInput } from "../images/load.ts";
import type { EvidenceCache } from "./journal/evidence_cache.ts";
import { identify, type Shard } from "./journal/shards.ts";

/** How many images there are. */
export interface Survey {
  /** Images of the run; where not all were looked at, an estimate. */
  readonly images: number;
  /** Images with complete evidence. */
  readonly recalled: number;
  /** Whether all images were looked at. */
  readonly isCounted: boolean;
}

/** What to look at, and how. */
export interface SurveyOptions {
  /** Default: all images. */
  readonly shard?: Shard;
  readonly maxPixels?: number;
  /** Where the hashes of images are kept for later. */
  readonly hashes?: ContentHashes;
  readonly signal?: AbortSignal;
}

/** Milliseconds for which images are read to find those that the journal has. */
const mostMs = 5000;

/** Looks up images by their content, until it takes too long or the signal is aborted. */
export async function survey(
  images: readonly ImageInput[],
  evidence: Pick<EvidenceCache, "isComplete" | "isEmpty"> | undefined,
  { shard, maxPixels, hashes = new ContentHashes(), signal }: SurveyOptions = {},
): Promise<Survey> {
  const share = Math.ceil(images.length / (shard?.count ?? 1));
  if (evidence === undefined || evidence.isEmpty()) return { images: share, recalled: 0, isCounted: true };
  const start = performance.now();
  let [found, recalled] = [0, 0];
  for await (const { sha256 } of identify(images, shard, hashes, maxPixels)) {
    found++;
    if (evidence.isComplete(sha256)) recalled++;
    if (signal?.aborted || performance.now() - start > mostMs) {
      return { images: share, recalled, isCounted: false };
    }
  }
  return { images: found, recalled, isCounted: true };
}
