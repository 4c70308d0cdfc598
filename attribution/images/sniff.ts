// Reads an image's format and size from its header. So an image that is too large can be refused without decoding it.

import { ascii, printable, uint24, viewOf } from "./bytes.ts";
import { UnreadableImageError } from "./image.ts";
import { findMarker, isFrameHeader } from "./jpeg_segments.ts";
import { appleVariety, PNG_SIGNATURE } from "./png_chunks.ts";
import { nameOfOtherFormat, nameOfText } from "./other_formats.ts";

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
    throw new UnreadableImageError("unsupported", `expected PNG, JPEG or WebP, got ${other}`);
  }
  // Only the first bytes of a supported format: the file was cut off.
  if (isPrefix(bytes, PNG_SIGNATURE) || isPrefix(bytes, [0xff, 0xd8, 0xff]) || isPrefix(bytes, RIFF)) {
    throw new UnreadableImageError("truncated", `the file ends within its signature (${bytes.length} bytes)`);
  }
  throw new UnreadableImageError(
    "not-an-image",
    `expected PNG, JPEG or WebP, got ${nameOfText(bytes) ?? describe(bytes)}`,
  );
}

const RIFF: readonly number[] = [0x52, 0x49, 0x46, 0x46];

function pngHeader(bytes: Uint8Array): ImageHeader {
  need(bytes, 33, "PNG");
  const first = ascii(bytes, 12, 4);
  if (first === "CgBI") throw appleVariety();
  if (first !== "IHDR") {
    throw new UnreadableImageError("corrupt", `PNG: expected the chunk IHDR first, got ${printable(bytes, 12, 4)}`);
  }
  const view = viewOf(bytes);
  return sized("png", "PNG", view.getUint32(16), view.getUint32(20));
}

/** Reads segments up to the frame header (ITU T.81, B.2.2). Skips bytes that belong to no segment, as libjpeg does. */
function jpegHeader(bytes: Uint8Array): ImageHeader {
  const view = viewOf(bytes);
  for (let from = 2;;) {
    const at = findMarker(bytes, from) ?? bytes.length;
    need(bytes, at + 4, "JPEG");
    const marker = bytes[at + 1];
    if (isFrameHeader(marker)) {
      need(bytes, at + 9, "JPEG");
      return sized("jpeg", "JPEG", view.getUint16(at + 7), view.getUint16(at + 5));
    } else if (marker === 0xd9 || marker === 0xda) {
      throw new UnreadableImageError("corrupt", `JPEG: expected a frame header before marker 0xff${hex(marker)}`);
    } else if (marker === 0x01 || (marker >= 0xd0 && marker <= 0xd8)) from = at + 2; // markers without a segment
    else from = at + 2 + view.getUint16(at + 2);
  }
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

function hex(byte: number): string {
  return byte.toString(16).padStart(2, "0");
}

function startsWith(bytes: Uint8Array, prefix: readonly number[]): boolean {
  return bytes.length >= prefix.length && isPrefix(bytes.subarray(0, prefix.length), prefix);
}

function isPrefix(bytes: Uint8Array, whole: readonly number[]): boolean {
  return bytes.length <= whole.length && bytes.every((byte, i) => byte === whole[i]);
}
