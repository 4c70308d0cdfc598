// Reads an image's format and size from its header. So an image that is too large can be refused without decoding it.

import { UnreadableImageError } from "./image.ts";

/** A format that can be decoded. */
export type ImageFormat = "png" | "jpeg" | "webp";

/** What an image's header says. */
export interface ImageHeader {
  /** Format by the first bytes. */
  readonly format: ImageFormat;
  /** In pixels, at least 1. For an animation, that of the canvas. */
  readonly width: number;
  /** In pixels, at least 1. For an animation, that of the canvas. */
  readonly height: number;
}

/**
 * The format and size that the content declares.
 *
 * Throws UnreadableImageError: `empty`, `not-an-image`, `unsupported` (the message names the format), `truncated` (the
 * file ends within the header), `corrupt` (a size of zero, a broken header).
 */
export function sniff(bytes: Uint8Array): ImageHeader {
  if (bytes.length === 0) throw new UnreadableImageError("empty", "the file is empty (0 bytes)");
  if (startsWith(bytes, PNG_SIGNATURE)) return pngHeader(bytes);
  if (startsWith(bytes, [0xff, 0xd8, 0xff])) return jpegHeader(bytes);
  if (ascii(bytes, 0, 4) === "RIFF" && ascii(bytes, 8, 4) === "WEBP") return webpHeader(bytes);
  const other = nameOfOtherFormat(bytes);
  if (other !== undefined) {
    throw new UnreadableImageError("unsupported", `expected PNG, JPEG or WebP, got ${other}; convert it to PNG`);
  }
  // Only the first bytes of a supported format: the file was cut off.
  if (isPrefix(bytes, PNG_SIGNATURE) || isPrefix(bytes, [0xff, 0xd8, 0xff]) || isPrefix(bytes, RIFF)) {
    throw new UnreadableImageError("truncated", `the file ends within its signature (${bytes.length} bytes)`);
  }
  throw new UnreadableImageError(
    "not-an-image",
    `expected PNG, JPEG or WebP, got ${describe(bytes)}`,
  );
}

/** The first bytes of every PNG file. */
export const PNG_SIGNATURE: readonly number[] = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const RIFF: readonly number[] = [0x52, 0x49, 0x46, 0x46];

function pngHeader(bytes: Uint8Array): ImageHeader {
  need(bytes, 33, "PNG");
  if (ascii(bytes, 12, 4) !== "IHDR") {
    throw new UnreadableImageError("corrupt", `PNG: expected the chunk IHDR first, got ${printable(bytes, 12, 4)}`);
  }
  const view = viewOf(bytes);
  return sized("png", "PNG", view.getUint32(16), view.getUint32(20));
}

/** Reads marker segments up to the frame header (ITU T.81, B.2.2). */
function jpegHeader(bytes: Uint8Array): ImageHeader {
  const view = viewOf(bytes);
  let at = 2;
  while (true) {
    need(bytes, at + 4, "JPEG");
    if (bytes[at] !== 0xff) {
      throw new UnreadableImageError("corrupt", `JPEG: expected a marker at byte ${at}, got 0x${hex(bytes[at])}`);
    }
    const marker = bytes[at + 1];
    if (marker === 0xff) at += 1; // fill byte
    else if (isFrameHeader(marker)) {
      need(bytes, at + 9, "JPEG");
      return sized("jpeg", "JPEG", view.getUint16(at + 7), view.getUint16(at + 5));
    } else if (marker === 0xd9 || marker === 0xda) {
      throw new UnreadableImageError("corrupt", `JPEG: expected a frame header before marker 0xff${hex(marker)}`);
    } else if (marker === 0x01 || (marker >= 0xd0 && marker <= 0xd8)) at += 2; // markers without a segment
    else at += 2 + view.getUint16(at + 2);
  }
}

/** Whether a marker is SOF0..SOF15. DHT (C4), JPG (C8) and DAC (CC) lie in the same range but are not. */
function isFrameHeader(marker: number): boolean {
  return marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc;
}

/** RIFF container: the first chunk is VP8 (lossy), VP8L (lossless) or VP8X (extended), each with its own size field. */
function webpHeader(bytes: Uint8Array): ImageHeader {
  need(bytes, 30, "WebP");
  const view = viewOf(bytes);
  const kind = ascii(bytes, 12, 4);
  if (kind === "VP8X") {
    return sized("webp", "WebP", 1 + uint24(bytes, 24), 1 + uint24(bytes, 27));
  }
  if (kind === "VP8L") {
    const bits = view.getUint32(21, true);
    return sized("webp", "WebP", 1 + (bits & 0x3fff), 1 + ((bits >>> 14) & 0x3fff));
  }
  if (kind === "VP8 ") {
    return sized("webp", "WebP", view.getUint16(26, true) & 0x3fff, view.getUint16(28, true) & 0x3fff);
  }
  throw new UnreadableImageError("corrupt", `WebP: expected VP8, VP8L or VP8X, got ${printable(bytes, 12, 4)}`);
}

/** The name of another common format, so that the error says what to convert. */
function nameOfOtherFormat(bytes: Uint8Array): string | undefined {
  const head = ascii(bytes, 0, 4);
  if (head === "GIF8") return "GIF";
  if (head.startsWith("BM") && bytes.length >= 26) return "BMP";
  if (head === "II*\0" || head === "MM\0*" || head === "II+\0" || head === "MM\0+") return "TIFF";
  if (ascii(bytes, 4, 4) === "ftyp") {
    const brand = ascii(bytes, 8, 4);
    if (brand === "avif" || brand === "avis") return "AVIF";
    if (/^(hei|hev|mif1|msf1)/.test(brand)) return "HEIF";
    return `an ISO media file (${printable(bytes, 8, 4)})`;
  }
  if (startsWith(bytes, [0, 0, 0, 0x0c, 0x6a, 0x50]) || startsWith(bytes, [0xff, 0x4f, 0xff, 0x51])) return "JPEG 2000";
  if (startsWith(bytes, [0, 0, 0, 0x0c, 0x4a, 0x58]) || startsWith(bytes, [0xff, 0x0a])) return "JPEG XL";
  if (head === "8BPS") return "a Photoshop file";
  if (head === "%PDF") return "PDF";
  if (head === "qoif") return "QOI";
  if (head === "\x8aMNG") return "MNG";
  if (startsWith(bytes, [0, 0, 1, 0]) && bytes.length >= 22) return "ICO";
  if (/^P[1-7]\s/.test(head)) return "PNM";
  if (/^(<\?xml[^>]*>\s*)?(<!--[\s\S]*?-->\s*)?<svg[\s>]/.test(ascii(bytes, 0, 512).trimStart())) return "SVG";
  return undefined;
}

function describe(bytes: Uint8Array): string {
  const head = bytes.subarray(0, 256);
  const isText = head.every((b) => b === 9 || b === 10 || b === 13 || (b >= 32 && b !== 127));
  if (isText) return `text (${JSON.stringify(ascii(bytes, 0, 24).replace(/[^ -~]/g, " "))})`;
  return `unknown content (first bytes ${Array.from(bytes.subarray(0, 8), hex).join(" ")})`;
}

function sized(format: ImageFormat, name: string, width: number, height: number): ImageHeader {
  if (width < 1 || height < 1) {
    throw new UnreadableImageError("corrupt", `${name}: expected a size of at least 1x1, got ${width}x${height}`);
  }
  return { format, width, height };
}

function need(bytes: Uint8Array, count: number, name: string): void {
  if (bytes.length < count) {
    throw new UnreadableImageError("truncated", `${name}: the file ends within its header (${bytes.length} bytes)`);
  }
}

/** Bytes as Latin-1 text. It is shorter at the end of the file. */
export function ascii(bytes: Uint8Array, at: number, count: number): string {
  return String.fromCharCode(...bytes.subarray(at, at + count));
}

/** Bytes as text for messages. Unprintable bytes become dots. */
export function printable(bytes: Uint8Array, at: number, count: number): string {
  return ascii(bytes, at, count).replace(/[^ -~]/g, ".");
}

/** A 24-bit little-endian number. */
export function uint24(bytes: Uint8Array, at: number): number {
  return bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16);
}

/** A view of the same bytes. */
export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function hex(byte: number): string {
  return byte.toString(16).padStart(2, "0");
}

function startsWith(bytes: Uint8Array, prefix: readonly number[]): boolean {
  return bytes.length >= prefix.length && isPrefix(bytes.subarray(0, prefix.length), prefix);
}

function isPrefix(bytes: Uint8Array, whole: readonly number[]): boolean {
  return bytes.length <= whole.length && bytes.every((byte, i) => byte === whole[i]);
}
