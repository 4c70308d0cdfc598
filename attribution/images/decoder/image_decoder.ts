/** What decodes images: this process, or one of its own. */
import { imageNotes } from "../decode.ts";
import type { RgbImage } from "../image.ts";
import { type ImageInput, type Pixels, pixelsOf, storedImage } from "../load.ts";

/** Makes pixels of files. All methods throw UnreadableImageError for files that cannot be read. */
export interface ImageDecoder extends AsyncDisposable {
  /** What pixelsOf() returns, with the notes of the file. `bytes` are those that readContent() returned. */
  pixels(
    input: ImageInput,
    bytes: Uint8Array<ArrayBuffer> | undefined,
    sizes: Iterable<number>,
    maxPixels?: number,
  ): Promise<Pixels>;
  /** The image that storedImage() returns: as stored, after its edits. */
  stored(input: ImageInput, bytes: Uint8Array<ArrayBuffer> | undefined, maxPixels?: number): Promise<RgbImage>;
  /** What imageNotes() returns. */
  notes(bytes: Uint8Array<ArrayBuffer>): Promise<readonly string[]>;
}

/** Decodes in this process, on the calling thread. */
export const ownDecoder: ImageDecoder = {
  pixels: pixelsOf,
  stored: async (input, bytes, maxPixels) => (await storedImage(input, bytes, maxPixels)).image,
  notes: (bytes) => Promise.resolve(imageNotes(bytes)),
  [Symbol.asyncDispose]: () => Promise.resolve(),
};
