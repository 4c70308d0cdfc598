// Reads a JPEG's segments without decoding it (ITU T.81, B.1 and B.2): what is odd about the file, how many scans it
// has, and the file that libjpeg gets, which has no metadata and no stray bytes.

import { ByteRanges } from "./byte_ranges.ts";
import { ascii, viewOf } from "./bytes.ts";
import { exifNotes } from "./exif.ts";
import { UnreadableImageError } from "./image.ts";

/**
 * Each scan of a progressive JPEG passes over all blocks, however short it is. libjpeg's script has 10 scans, or 24
 * for CMYK. 64 scans of 8192x8192 pixels take about 9 s of processor time.
 */
export const maxScans = 64;

/** A JPEG that was read up to its end but not decoded. */
export interface JpegFile {
  /** The file for libjpeg: same pixels, without metadata and stray bytes, with an end-of-image marker. */
  readonly file: Uint8Array;
  /** What is odd about the file or not applied to its pixels. */
  readonly notes: readonly string[];
  /** Whether the file has its end-of-image marker. If not, only decoding shows whether its last scan is complete. */
  readonly hasEnd: boolean;
}

/**
 * Reads the segments up to the end-of-image marker.
 *
 * Throws UnreadableImageError: `truncated` for a file that ends before its last scan, `too-large` for more than
 * `maxScans` scans.
 */
export function readSegments(bytes: Uint8Array): JpegFile {
  const segments = new SegmentReader(bytes);
  while (segments.next());
  return segments.result();
}

class SegmentReader {
  readonly #view: DataView;
  readonly #ranges: ByteRanges;
  readonly #metadata = new Set<string>();
  readonly #coverage = new Coverage();
  #at = 2;
  /** Where the image ends: after the marker, or where a file without one has nothing more of the image. */
  #end = 0;
  #hasEnd = false;
  #scans = 0;
  /** Whether entropy-coded data lies at #at. */
  #inScan = false;
  #strays = 0;

  constructor(readonly bytes: Uint8Array) {
    this.#view = viewOf(bytes);
    this.#ranges = new ByteRanges(bytes);
  }

  /** Reads up to the next segment. Returns false at the end of the image. */
  next(): boolean {
    const at = findMarker(this.bytes, this.#at);
    if (at === undefined) return this.#stop(this.bytes.length);
    if (!this.#inScan) this.#skipStrays(at);
    const marker = this.bytes[at + 1];
    if (marker === 0xd9) {
      this.#hasEnd = true;
      return this.#stop(at + 2);
    }
    if (marker === 0x01 || (marker >= 0xd0 && marker <= 0xd7)) { // markers without a segment
      this.#at = at + 2;
      return true;
    }
    const end = at + 4 > this.bytes.length ? Infinity : at + 2 + this.#view.getUint16(at + 2);
    if (this.#inScan && (isForeign(marker) || end > this.bytes.length)) return this.#stop(at);
    if (end > this.bytes.length) throw truncatedJpeg(this.bytes);
    this.#segment(marker, at, end);
    this.#at = Math.max(at + 2, end);
    return true;
  }

  /** Throws as readSegments() does. */
  result(): JpegFile {
    if (this.#scans === 0 || (!this.#hasEnd && !this.#coverage.isComplete())) throw truncatedJpeg(this.bytes);
    const notes = [...this.#metadata];
    if (this.#strays > 0) notes.push(`${this.#strays} stray bytes between segments`);
    if (!this.#hasEnd) notes.push("no end-of-image marker");
    const file = this.#ranges.keptUpTo(this.#end, this.#hasEnd ? [] : [0xff, 0xd9]);
    return { file, notes, hasEnd: this.#hasEnd };
  }

  /** Drops what lies before a marker, unless it is fill bytes, which belong to the format. */
  #skipStrays(marker: number): void {
    let strays = 0;
    for (let at = this.#at; at < marker; at++) if (this.bytes[at] !== 0xff) strays++;
    if (strays > 0) this.#ranges.drop(this.#at, marker);
    this.#strays += strays;
  }

  #segment(marker: number, at: number, end: number): void {
    this.#inScan = marker === 0xda;
    if (marker === 0xda) {
      if (++this.#scans > maxScans) {
        throw new UnreadableImageError("too-large", `JPEG: more than ${maxScans} scans`);
      }
      this.#coverage.addScan(this.bytes.subarray(at + 4, end));
    } else if (isFrameHeader(marker)) this.#coverage.setFrame(marker, this.bytes.subarray(at + 4, end));
    else if (isMetadata(marker)) {
      for (const note of metadataNotes(marker, this.bytes.subarray(at + 4, end))) {
        if (this.#metadata.size < 4) this.#metadata.add(note);
      }
      this.#ranges.drop(at, Math.max(at + 2, end));
    }
  }

  #stop(end: number): false {
    this.#end = end;
    return false;
  }
}

/** Offset of the next marker from `from` on: 0xff before a byte other than 0x00 and 0xff. Undefined without one. */
export function findMarker(bytes: Uint8Array, from: number): number | undefined {
  for (let at = bytes.indexOf(0xff, from); at >= 0; at = bytes.indexOf(0xff, at + 1)) {
    while (bytes[at + 1] === 0xff) at++; // fill bytes
    if (at + 1 >= bytes.length) return undefined;
    if (bytes[at + 1] !== 0x00) return at;
  }
  return undefined;
}

/** Whether a marker is SOF0..SOF15. DHT (C4), JPG (C8) and DAC (CC) lie in the same range but are not. */
export function isFrameHeader(marker: number): boolean {
  return marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc;
}

/** The error of a file that ends too early. */
export function truncatedJpeg(bytes: Uint8Array): UnreadableImageError {
  const message = `JPEG: the file ends at byte ${bytes.length}, before the end-of-image marker`;
  return new UnreadableImageError("truncated", message);
}

/** Markers that cannot follow a scan: bytes behind an image without an end marker, or the start of another image. */
function isForeign(marker: number): boolean {
  return marker < 0xc0 || marker === 0xd8 || (marker >= 0xf0 && marker <= 0xfd);
}

/**
 * APPn and COM. APP0 (JFIF) and APP14 (Adobe) tell the colour space, so they stay. ImageMagick joins the others in
 * a time that grows with the square of their number.
 */
function isMetadata(marker: number): boolean {
  return marker === 0xfe || (marker >= 0xe1 && marker <= 0xef && marker !== 0xee);
}

function metadataNotes(marker: number, content: Uint8Array): string[] {
  if (marker === 0xe1 && ascii(content, 0, 6) === "Exif\0\0") return exifNotes(content.subarray(6));
  if (marker === 0xe2 && ascii(content, 0, 4) === "MPF\0") return multiPictureNotes(content.subarray(4));
  return [];
}

/** The number of images of a multi-picture file (CIPA DC-007, 5.2.3.2). */
function multiPictureNotes(tiff: Uint8Array): string[] {
  if (tiff.length < 10) return [];
  const view = viewOf(tiff), little = ascii(tiff, 0, 2) === "II";
  const directory = view.getUint32(4, little);
  if (directory + 2 > tiff.length) return [];
  const entries = view.getUint16(directory, little);
  for (let i = 0, at = directory + 2; i < entries && at + 12 <= tiff.length; i++, at += 12) {
    const images = view.getUint32(at + 8, little);
    if (view.getUint16(at, little) === 0xb001 && images > 1) return [`the first of ${images} images`];
  }
  return [];
}

/** Which coefficients of which components the scans hold. */
class Coverage {
  /** The lowest bit that is known, by component and coefficient in zigzag order. */
  readonly #lowest = new Map<number, Uint8Array>();
  #isProgressive = false;
  #isArithmetic = false;

  /** `content` is that of a frame header: precision, height, width, then 3 bytes per component. */
  setFrame(marker: number, content: Uint8Array): void {
    this.#isProgressive = (marker & 3) === 2;
    this.#isArithmetic = marker >= 0xc9;
    for (let at = 6; at + 3 <= content.length; at += 3) this.#lowest.set(content[at], new Uint8Array(64).fill(255));
  }

  /** `content` is that of a scan header: 2 bytes per component, then the band and the bit position. */
  addScan(content: Uint8Array): void {
    const count = content[0] ?? 0;
    const [first = 0, last = 0, bits = 0] = content.subarray(1 + 2 * count);
    for (let i = 0; i < count; i++) {
      const lowest = this.#lowest.get(content[1 + 2 * i]);
      if (this.#isProgressive) lowest?.fill(bits & 15, first, last + 1);
      else lowest?.fill(0);
    }
  }

  /**
   * Whether the scans hold all bits of all coefficients, provided that the last one does not end early. Of arithmetic
   * coding it is never known, because a decoder adds zeros at the end of the data.
   */
  isComplete(): boolean {
    return !this.#isArithmetic && [...this.#lowest.values()].every((lowest) => lowest.every((bit) => bit === 0));
  }
}
