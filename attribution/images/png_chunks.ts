// Reads a PNG's chunks without inflating them (PNG specification, 5): what is odd about the file, and the file that
// libpng gets, which has no chunk that its pixels do not depend on.

import { crc32 } from "node:zlib";
import { ByteRanges } from "./byte_ranges.ts";
import { ascii, printable, viewOf } from "./bytes.ts";
import { cleanText, exifNotes, type Metadata, readExif, softwareOfXmp } from "./exif.ts";
import { UnreadableImageError } from "./image.ts";

/** The first bytes of every PNG file. */
export const PNG_SIGNATURE: readonly number[] = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];

/** A PNG that was read up to its end but not decoded. */
export interface PngFile {
  /** The file for libpng: same pixels, without the ancillary chunks but tRNS. */
  readonly file: Uint8Array;
  /** What is odd about the file or not applied to its pixels. */
  readonly notes: readonly string[];
  /** Bits per channel; 8 for palettes. */
  readonly depth: number;
  /** Whether there is an alpha channel, or a transparent colour. */
  readonly transparency: boolean;
  /** Number of pictures; more than 1 for animations. */
  readonly pictures: number;
  /** What EXIF data say, and text and XMP where they say nothing. */
  readonly metadata: Metadata;
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
        depth: bytes[25] === 3 ? 8 : bytes[24],
        transparency: hasAlpha(bytes) || ancillary.isTransparent,
        pictures: ancillary.pictures,
        metadata: ancillary.metadata(),
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
  return [
    ...bytes[24] === 16 ? ["16 bits per sample, of which the high byte is taken"] : [],
    ...hasAlpha(bytes) ? ["transparency is dropped"] : [],
  ];
}

function hasAlpha(bytes: Uint8Array): boolean {
  return bytes[25] === 4 || bytes[25] === 6;
}

/** How the text chunk with a program's name begins, and an uncompressed one with XMP data. */
const softwareKey = "Software\0", xmpKey = "XML:com.adobe.xmp\0\0";

/** What the ancillary chunks of a file say. */
class AncillaryChunks {
  readonly #damaged = new Set<string>();
  #exif: Metadata | undefined;
  /** The program by a text chunk, and by XMP data; empty if they do not say. */
  #software: string | undefined;
  #creatorTool: string | undefined;
  /** Whether there is a chunk tRNS. */
  isTransparent = false;
  #frames = 0;
  /** Whether the image that is decoded is the first frame of the animation. */
  #startsAnimation = false;

  /** `chunk` is type, content and checksum. */
  add(type: string, chunk: Uint8Array, isBeforeData: boolean): void {
    const content = chunk.subarray(4, -4);
    if (type === "tRNS") this.isTransparent = true;
    else if (crc32(chunk.subarray(0, -4)) !== viewOf(chunk).getUint32(chunk.length - 4)) {
      if (this.#damaged.size < maxNamed) this.#damaged.add(printable(chunk, 0, 4));
    } else if (type === "eXIf") this.#exif ??= readExif(content);
    else if (type === "tEXt" && ascii(content, 0, softwareKey.length) === softwareKey) {
      this.#software ??= cleanText(content.subarray(softwareKey.length));
    } else if (type === "iTXt" && ascii(content, 0, xmpKey.length) === xmpKey) {
      this.#creatorTool ??= softwareOfXmp(content.subarray(xmpKey.length)) ?? "";
    } else if (type === "acTL" && content.length >= 4) this.#frames = viewOf(content).getUint32(0);
    else if (type === "fcTL" && isBeforeData) this.#startsAnimation = true;
  }

  get pictures(): number {
    return Math.max(1, this.#startsAnimation ? this.#frames : this.#frames + 1);
  }

  metadata(): Metadata {
    const software = this.#exif?.software ?? (this.#software || this.#creatorTool);
    return { ...this.#exif, ...software && { software } };
  }

  notes(): string[] {
    const notes = exifNotes(this.#exif ?? {});
    if (this.isTransparent) notes.push("transparency is dropped");
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
