// Reads what a reader of a verdict wants to know of an image's metadata: its orientation, and the program that wrote it.
// Pixels do not depend on them.

import { ascii, printable, viewOf } from "./bytes.ts";

/** What the metadata of an image file say. */
export interface Metadata {
  /** EXIF orientation, 1 to 8. Absent without a valid one. */
  readonly orientation?: number;
  /** Name of a program, printable ASCII of at most 80 characters. Absent without one. */
  readonly software?: string;
}

/** The longest text that is taken of a tag. */
const maxText = 80;
const orientationTag = 0x0112, softwareTag = 0x0131;

/** What EXIF data say, which begin with a TIFF header (EXIF 2.32, 4.5.2). Data that are not EXIF say nothing. */
export function readExif(tiff: Uint8Array): Metadata {
  const order = ascii(tiff, 0, 2);
  if (tiff.length < 8 || (order !== "II" && order !== "MM")) return {};
  const view = viewOf(tiff), little = order === "II";
  const directory = view.getUint32(4, little);
  if (directory + 2 > tiff.length) return {};
  let orientation: number | undefined, software: string | undefined;
  const entries = view.getUint16(directory, little);
  for (let i = 0, at = directory + 2; i < entries && at + 12 <= tiff.length; i++, at += 12) {
    const tag = view.getUint16(at, little);
    if (tag === orientationTag) {
      const value = view.getUint16(at + 8, little);
      if (value >= 1 && value <= 8) orientation ??= value;
    } else if (tag === softwareTag) {
      const length = view.getUint32(at + 4, little);
      const start = length <= 4 ? at + 8 : view.getUint32(at + 8, little);
      software ??= cleanText(tiff.subarray(start, start + length));
    }
  }
  return { ...orientation !== undefined && { orientation }, ...software !== undefined && { software } };
}

/**
 * Notes about metadata: an orientation other than 1, which is not applied, and the name of a program that EXIF data
 * give.
 */
export function exifNotes({ orientation = 1, software }: Metadata): string[] {
  return [
    ...orientation !== 1 ? [`EXIF orientation ${orientation} is not applied`] : [],
    ...software !== undefined ? [`EXIF software: ${software}`] : [],
  ];
}

/** Bytes as printable text of at most 80 characters. Undefined if nothing is left. */
export function cleanText(bytes: Uint8Array): string | undefined {
  const text = printable(bytes, 0, maxText).replace(/\.+$/, "").trim();
  return text === "" ? undefined : text;
}

/** How much of XMP data is searched for the name of a program, in bytes. */
const maxXmp = 64 * 1024;

/** The program that XMP data name (property xmp:CreatorTool, as attribute or as element). Undefined without one. */
export function softwareOfXmp(xmp: Uint8Array): string | undefined {
  const text = new TextDecoder().decode(xmp.subarray(0, maxXmp));
  const match = /\bxmp:CreatorTool(?:\s{0,9}=\s{0,9}["']([^"']{0,200})|\s{0,9}>([^<]{0,200}))/.exec(text);
  return match === null ? undefined : cleanText(new TextEncoder().encode(match[1] ?? match[2]));
}
