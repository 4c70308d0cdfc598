// Reads a JPEG's segments without decoding it (ITU T.81, B.1 and B.2): what is odd about the file, how many scans it
// has, and the file that libjpeg gets, which has no metadata and no stray bytes.

import { ByteRanges } from "./byte_ranges.ts";
import { ascii, viewOf } from "./bytes.ts";
import { exifNotes, type Metadata, readExif, softwareOfXmp } from "./exif.ts";
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
  /** The last frame header. */
  readonly frame: JpegFrame;
  /** Quantisation tables by their number: 64 steps each, in zigzag order. */
  readonly tables: ReadonlyMap<number, Uint16Array>;
  /** What EXIF data say, and XMP where they say nothing. */
  readonly metadata: Metadata;
  /** Number of images in a multi-picture file; 1 in others. */
  readonly pictures: number;
}

/** What a JPEG's frame header says. */
export interface JpegFrame {
  readonly progressive: boolean;
  /** Bits per sample. */
  readonly depth: number;
  /** Sampling factors and number of the quantisation table, by component. */
  readonly components: readonly { readonly horizontal: number; readonly vertical: number; readonly table: number }[];
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
  readonly #tables = new Map<number, Uint16Array>();
  readonly #coverage = new Coverage();
  #at = 2;
  /** Where the image ends: after the marker, or where a file without one has nothing more of the image. */
  #end = 0;
  #hasEnd = false;
  #scans = 0;
  /** Whether entropy-coded data lies at #at. */
  #inScan = false;
  #strays = 0;
  #frame: JpegFrame = { progressive: false, depth: 8, components: [] };
  #exif: Metadata | undefined;
  /** By XMP data; empty if they do not say. */
  #creatorTool: string | undefined;
  #pictures: number | undefined;

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
    const pictures = this.#pictures ?? 1;
    const notes = [...exifNotes(this.#exif ?? {}), ...pictures > 1 ? [`the first of ${pictures} images`] : []];
    if (this.#strays > 0) notes.push(`${this.#strays} stray bytes between segments`);
    if (!this.#hasEnd) notes.push("no end-of-image marker");
    const file = this.#ranges.keptUpTo(this.#end, this.#hasEnd ? [] : [0xff, 0xd9]);
    const software = this.#exif?.software ?? this.#creatorTool;
    const metadata = { ...this.#exif, ...software && { software } };
    return { file, notes, hasEnd: this.#hasEnd, frame: this.#frame, tables: this.#tables, metadata, pictures };
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
    } else if (isFrameHeader(marker)) {
      this.#frame = readFrame(marker, this.bytes.subarray(at + 4, end));
      this.#coverage.setFrame(marker, this.bytes.subarray(at + 4, end));
    } else if (marker === 0xdb) readTables(this.bytes.subarray(at + 4, end), this.#tables);
    else if (isMetadata(marker)) {
      this.#readMetadata(marker, this.bytes.subarray(at + 4, end));
      this.#ranges.drop(at, Math.max(at + 2, end));
    }
  }

  /** Keeps what the first segment of each kind says. */
  #readMetadata(marker: number, content: Uint8Array): void {
    if (marker === 0xe1 && ascii(content, 0, 6) === "Exif\0\0") this.#exif ??= readExif(content.subarray(6));
    else if (marker === 0xe1 && ascii(content, 0, xmpHead.length) === xmpHead) {
      this.#creatorTool ??= softwareOfXmp(content.subarray(xmpHead.length)) ?? "";
    } else if (marker === 0xe2 && ascii(content, 0, 4) === "MPF\0") {
      this.#pictures ??= numberOfPictures(content.subarray(4));
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

/** How a segment with XMP data begins. */
const xmpHead = "http://ns.adobe.com/xap/1.0/\0";

/** Reads the content of a frame header: precision, height, width, then 3 bytes per component. */
function readFrame(marker: number, content: Uint8Array): JpegFrame {
  const components = [];
  for (let at = 6; at + 3 <= content.length; at += 3) {
    const factors = content[at + 1];
    components.push({ horizontal: factors >> 4, vertical: factors & 15, table: content[at + 2] });
  }
  return { progressive: (marker & 3) === 2, depth: content[0] ?? 8, components };
}

/** Adds the quantisation tables of a segment (B.2.4.1). Ignores what is incomplete. */
function readTables(content: Uint8Array, tables: Map<number, Uint16Array>): void {
  for (let at = 0; at < content.length;) {
    const head = content[at++], bytesPerStep = head >> 4 === 0 ? 1 : 2;
    if (at + 64 * bytesPerStep > content.length) return;
    const view = viewOf(content), from = at;
    const step = (i: number) => bytesPerStep === 1 ? content[from + i] : view.getUint16(from + 2 * i);
    tables.set(head & 15, Uint16Array.from({ length: 64 }, (_, i) => step(i)));
    at += 64 * bytesPerStep;
  }
}

/** The number of images of a multi-picture file (CIPA DC-007, 5.2.3.2); 1 without one. */
function numberOfPictures(tiff: Uint8Array): number {
  if (tiff.length < 10) return 1;
  const view = viewOf(tiff), little = ascii(tiff, 0, 2) === "II";
  const directory = view.getUint32(4, little);
  if (directory + 2 > tiff.length) return 1;
  const entries = view.getUint16(directory, little);
  for (let i = 0, at = directory + 2; i < entries && at + 12 <= tiff.length; i++, at += 12) {
    if (view.getUint16(at, little) === 0xb001) return Math.max(1, view.getUint32(at + 8, little));
  }
  return 1;
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
