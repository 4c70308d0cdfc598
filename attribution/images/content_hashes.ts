/**
 * The hashes of the images of a run, found once per file. A run with a journal asks for them when it counts what the
 * journal has, when it looks for images with the same content, and when it recalls what was measured.
 */
import { isSettled, sameStamp, type Stamp, stampOf } from "../../util/hash_memory.ts";
import { type ImageInput, readContent } from "./load.ts";

/** Hashes of files, each believed while the file is what it was. They are forgotten with the object. */
export class ContentHashes {
  readonly #known = new Map<string, { readonly stamp: Stamp; readonly sha256: string }>();

  /** The sha256 that identifies the content of an image, remembered or read. Throws as readContent() does. */
  async of(input: ImageInput, maxPixels?: number): Promise<string> {
    const recalled = this.recall(input);
    if (recalled !== undefined) return recalled;
    const path = plainFile(input), now = Date.now();
    const stamp = path === undefined ? undefined : stampOf(path);
    const { sha256 } = await readContent(input, maxPixels);
    if (stamp !== undefined && isSettled(stamp, now)) this.#known.set(path!, { stamp, sha256 });
    return sha256;
  }

  /** The same if it is remembered, else undefined. Reads no content. */
  recall(input: ImageInput): string | undefined {
    const path = plainFile(input), known = path === undefined ? undefined : this.#known.get(path);
    if (known === undefined) return undefined;
    const stamp = stampOf(path!);
    return stamp !== undefined && sameStamp(stamp, known.stamp) ? known.sha256 : undefined;
  }
}

/** The path of an image that is a file as it is; undefined for others. */
function plainFile({ path, bytes, image, decoded, edits = [], pose, augmentation }: ImageInput): string | undefined {
  const isPlain = [bytes, image, decoded, pose, augmentation].every((one) => one === undefined) && edits.length === 0;
  return isPlain ? path : undefined;
}
