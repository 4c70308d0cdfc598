// Reads the two EXIF tags that a verdict's reader wants to know about. Pixels do not depend on them.

import { ascii, printable, viewOf } from "./bytes.ts";

/** The longest text of a tag that a note repeats. */
const maxText = 80;
const orientationTag = 0x0112, softwareTag = 0x0131;

/**
 * Notes about EXIF data, which begins with a TIFF header (EXIF 2.32, 4.5.2): an orientation other than 1, which is not
 * applied, and the name of a program. Data that is not EXIF gives no notes.
 */
export function exifNotes(tiff: Uint8Array): string[] {
  const order = ascii(tiff, 0, 2);
  if (tiff.length < 8 || (order !== "II" && order !== "MM")) return [];
  const view = viewOf(tiff), little = order === "II";
  const directory = view.getUint32(4, little);
  if (directory + 2 > tiff.length) return [];
  const notes: string[] = [];
  const entries = view.getUint16(directory, little);
  for (let i = 0, at = directory + 2; i < entries && at + 12 <= tiff.length; i++, at += 12) {
    const tag = view.getUint16(at, little);
    if (tag === orientationTag) {
      const orientation = view.getUint16(at + 8, little);
      if (orientation >= 2 && orientation <= 8) notes.push(`EXIF orientation ${orientation} is not applied`);
    } else if (tag === softwareTag) {
      const length = view.getUint32(at + 4, little);
      const start = length <= 4 ? at + 8 : view.getUint32(at + 8, little);
      const text = printable(tiff, start, Math.min(length, maxText)).replace(/\.+$/, "");
      if (text !== "") notes.push(`EXIF software: ${text}`);
    }
  }
  return [...new Set(notes)].slice(0, 2);
}
