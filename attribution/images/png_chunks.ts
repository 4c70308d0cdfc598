// Reads a PNG's chunks without inflating them (PNG specification, 5): what is odd about the file, and the file that
// libpng gets, which has no chunk that its pixels do not depend on.

import { crc32 } from "node:zlib";
import { ByteRanges } from "./byte_ranges.ts";
import { ascii, printable, viewOf } from "./bytes.ts";
import { exifNotes } from "./exif.ts";
import { UnreadableImageError } from "./image.ts";

/** The first bytes of every PNG file. */
export const PNG_SIGNATURE: readonly number[] = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];

/** A PNG that was read up to its end but not decoded. */
export interface PngFile {
  /** The file for libpng: same pixels, without the ancillary chunks but tRNS. */
  readonly file: Uint8Array;
  /** What is odd about the file or not applied to its pixels. */
  readonly notes: readonly string[];
}

/** How many chunks with a wrong checksum the notes name. */
const maxNamed = 4;

/**
 * Reads the chunks up to IEND. An ancillary chunk with a wrong checksum gives a note; libpng checks the others.
 * Ancillary chunks may hold gigabytes of compressed text or profiles in a small file, so they are not passed on.
 *
 * Throws UnreadableImageError: `truncated` for a file without IEND, `corrupt` for image data with a gap, `unsupported`
 * for a PNG of Apple's variety.
 */
export function readChunks(bytes: Uint8Array): PngFile {
  const view = viewOf(bytes);
  const ranges = new ByteRanges(bytes);
  const ancillary = new AncillaryChunks();
  /** Whether IDAT has not begun, goes on, or has ended. */
  let data: "before" | "within" | "after" = "before";
  for (let at = PNG_SIGNATURE.length; at + 12 <= bytes.length;) {
    const type = ascii(bytes, at + 4, 4);
    const end = at + 12 + view.getUint32(at);
    if (type === "IEND") {
      return {
        file: ranges.keptUpTo(Math.min(end, bytes.length)),
        notes: [...pixelNotes(bytes), ...ancillary.notes()],
      };
    }
    if (end > bytes.length) break;
    if (type === "CgBI") throw appleVariety();
    if (type === "IDAT") {
      if (data === "after") throw new UnreadableImageError("corrupt", "PNG: another chunk lies between chunks IDAT");
      data = "within";
    } else {
      if (data === "within") data = "after";
      if (isAncillary(type)) {
        ancillary.add(type, bytes.subarray(at + 4, end), data === "before");
        if (type !== "tRNS") ranges.drop(at, end);
      }
    }
    at = end;
  }
  throw new UnreadableImageError("truncated", `PNG: the file ends at byte ${bytes.length}, before the chunk IEND`);
}

/** The error of a PNG whose first chunk is Apple's CgBI: its pixels have another order, and its data no zlib header. */
export function appleVariety(): UnreadableImageError {
  return new UnreadableImageError(
    "unsupported",
    "PNG: optimised for iOS (Apple's chunk CgBI), which is not a standard PNG; export it again as an ordinary PNG",
  );
}

function isAncillary(type: string): boolean {
  return (type.charCodeAt(0) & 0x20) !== 0;
}

/** Notes by the header: IHDR is the first chunk. */
function pixelNotes(bytes: Uint8Array): string[] {
  const depth = bytes[24], colour = bytes[25];
  return [
    ...depth === 16 ? ["16 bits per sample, rounded to 8"] : [],
    ...colour === 4 || colour === 6 ? ["transparency is dropped"] : [],
  ];
}

/** What the ancillary chunks of a file say. */
class AncillaryChunks {
  readonly #damaged = new Set<string>();
  #exif: string[] = [];
  #isTransparent = false;
  #frames = 0;
  /** Whether the image that is decoded is the first frame of the animation. */
  #startsAnimation = false;

  /** `chunk` is type, content and checksum. */
  add(type: string, chunk: Uint8Array, isBeforeData: boolean): void {
    const content = chunk.subarray(4, -4);
    if (type === "tRNS") this.#isTransparent = true;
    else if (crc32(chunk.subarray(0, -4)) !== viewOf(chunk).getUint32(chunk.length - 4)) {
      if (this.#damaged.size < maxNamed) this.#damaged.add(printable(chunk, 0, 4));
    } else if (type === "eXIf" && this.#exif.length === 0) this.#exif = exifNotes(content);
    else if (type === "acTL" && content.length >= 4) this.#frames = viewOf(content).getUint32(0);
    else if (type === "fcTL" && isBeforeData) this.#startsAnimation = true;
  }

  notes(): string[] {
    const notes = [...this.#exif];
    if (this.#isTransparent) notes.push("transparency is dropped");
    if (this.#frames > 0) {
      notes.push(
        this.#startsAnimation
          ? `the first of ${this.#frames} frames`
          : `the still image beside an animation of ${this.#frames} frames`,
      );
    }
    for (const type of this.#damaged) notes.push(`wrong checksum of the chunk ${type}, which pixels do not depend on`);
    return notes;
  }
}
