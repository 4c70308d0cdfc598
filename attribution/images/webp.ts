// Decodes WebP with libwebp, compiled to WebAssembly (@jsquash/webp). The container is parsed here, because that
// decoder does not notice truncated files and does not read animations. Metadata, alpha and further frames are ignored.

import decodeStill, { init } from "npm:@jsquash/webp@1.5.0/decode.js";
import { ascii, printable, uint24, viewOf } from "./bytes.ts";
import { exifNotes, type Metadata, readExif, softwareOfXmp } from "./exif.ts";
import { type RgbImage, UnreadableImageError } from "./image.ts";
import { sniff } from "./sniff.ts";
// @ts-types="./webp_wasm.d.ts"
import wasm from "./webp_wasm.js";

interface Chunk {
  readonly type: string;
  readonly content: Uint8Array;
}

let ready: Promise<unknown> | undefined;

/**
 * Decodes a lossy, lossless or animated WebP. Of an animation, it returns the first frame on a black canvas, as Pillow
 * does.
 *
 * Throws UnreadableImageError: `truncated`, `corrupt`.
 */
export async function decodeWebp(bytes: Uint8Array): Promise<RgbImage> {
  const { width, height } = sniff(bytes);
  const size = viewOf(bytes).getUint32(4, true) + 8;
  if (size > bytes.length) {
    throw new UnreadableImageError("truncated", `WebP: the file has ${bytes.length} bytes, its header says ${size}`);
  }
  const file = bytes.subarray(0, size); // bytes after the container are not part of the image
  const chunks = readChunks(file.subarray(12));
  const frame = chunks.find((chunk) => chunk.type === "ANMF");
  if (frame === undefined) return await decodeBitstream(file, width, height);
  if (frame.content.length < 16) throw new UnreadableImageError("corrupt", "WebP: animation frame too short");
  // ANMF has the position in units of 2 pixels, the size minus 1, duration, flags, then the chunks of a still image.
  const x = 2 * uint24(frame.content, 0);
  const y = 2 * uint24(frame.content, 3);
  const frameWidth = 1 + uint24(frame.content, 6);
  const frameHeight = 1 + uint24(frame.content, 9);
  if (x + frameWidth > width || y + frameHeight > height) {
    throw new UnreadableImageError("corrupt", "WebP: the first animation frame leaves the canvas");
  }
  const parts = readChunks(frame.content.subarray(16)).filter(({ type }) => /^(ALPH|VP8 |VP8L)$/.test(type));
  const still = await decodeBitstream(stillFile(parts, frameWidth, frameHeight), frameWidth, frameHeight);
  if (frameWidth === width && frameHeight === height) return still;
  const data = new Uint8Array(width * height * 3);
  for (let row = 0; row < frameHeight; row++) {
    const line = still.data.subarray(row * frameWidth * 3, (row + 1) * frameWidth * 3);
    data.set(line, ((y + row) * width + x) * 3);
  }
  return { width, height, data };
}

/** What of a file is not applied to its pixels: EXIF orientation, transparency, further frames. Throws `truncated`. */
export function webpNotes(bytes: Uint8Array): string[] {
  const { exif, transparency, frames } = readWebp(bytes);
  return [
    ...exifNotes(exif),
    ...transparency ? ["transparency is dropped"] : [],
    ...frames > 0 ? [`the first of ${frames} frames`] : [],
  ];
}

/** How a WebP file stores its image. */
export interface WebpFile {
  /** Whether the image, or the first frame, is stored without loss. */
  readonly lossless: boolean;
  readonly transparency: boolean;
  /** Number of frames of an animation; 0 for a still image. */
  readonly frames: number;
  readonly exif: Metadata;
  /** The program that XMP data name. */
  readonly creatorTool?: string;
}

/** Reads the chunks of a WebP file without decoding it. Throws `truncated`. */
export function readWebp(bytes: Uint8Array): WebpFile {
  const chunks = readChunks(bytes.subarray(12, viewOf(bytes).getUint32(4, true) + 8));
  const contentOf = (wanted: string) => chunks.find(({ type }) => type === wanted)?.content ?? new Uint8Array();
  const exif = contentOf("EXIF"), frame = contentOf("ANMF");
  const { type, content } = chunks[0];
  const image = frame.length >= 16 ? readChunks(frame.subarray(16)) : chunks;
  return {
    lossless: image.some(({ type }) => type === "VP8L"),
    transparency: type === "VP8X" ? (content[0] & 0x10) !== 0 : type === "VP8L" && (content[4] & 0x10) !== 0,
    frames: chunks.filter(({ type }) => type === "ANMF").length,
    exif: readExif(ascii(exif, 0, 6) === "Exif\0\0" ? exif.subarray(6) : exif),
    creatorTool: softwareOfXmp(contentOf("XMP ")),
  };
}

function readChunks(bytes: Uint8Array): Chunk[] {
  const chunks: Chunk[] = [];
  const view = viewOf(bytes);
  for (let at = 0; at + 8 <= bytes.length;) {
    const length = view.getUint32(at + 4, true);
    if (at + 8 + length > bytes.length) {
      throw new UnreadableImageError("truncated", `WebP: the file ends within the chunk ${printable(bytes, at, 4)}`);
    }
    chunks.push({ type: ascii(bytes, at, 4), content: bytes.subarray(at + 8, at + 8 + length) });
    at += 8 + length + (length & 1); // chunks are padded to even length
  }
  return chunks;
}

/** Makes a file of the chunks of an animation frame. */
function stillFile(parts: readonly Chunk[], width: number, height: number): Uint8Array {
  const extended = new Uint8Array(10);
  const view = viewOf(extended);
  if (parts.some((part) => part.type === "ALPH")) extended[0] = 0x10; // the flag that announces an alpha chunk
  view.setUint32(4, width - 1, true); // a 24-bit field: the high byte is 0, and the next field overwrites it
  view.setUint16(7, (height - 1) & 0xffff, true);
  extended[9] = (height - 1) >> 16;
  const chunks = [{ type: "VP8X", content: extended }, ...parts];
  const size = chunks.reduce((sum, { content }) => sum + 8 + content.length + (content.length & 1), 12);
  const file = new Uint8Array(size);
  const text = (at: number, value: string) => file.set(new TextEncoder().encode(value), at);
  text(0, "RIFF");
  viewOf(file).setUint32(4, size - 8, true);
  text(8, "WEBP");
  let at = 12;
  for (const { type, content } of chunks) {
    text(at, type);
    viewOf(file).setUint32(at + 4, content.length, true);
    file.set(content, at + 8);
    at += 8 + content.length + (content.length & 1);
  }
  return file;
}

async function decodeBitstream(file: Uint8Array, width: number, height: number): Promise<RgbImage> {
  await (ready ??= init(wasm));
  let rgba: ArrayLike<number>;
  try {
    const image = await decodeStill(file.slice().buffer);
    if (image.width !== width || image.height !== height) {
      throw new Error(`the image has ${image.width}x${image.height} pixels, the header says ${width}x${height}`);
    }
    rgba = image.data;
  } catch (cause) {
    // A trap leaves the decoder's memory in an unknown state, so the next image starts a new one.
    ready = undefined;
    throw new UnreadableImageError("corrupt", `WebP: ${(cause as Error).message}`, { cause });
  }
  const data = new Uint8Array(width * height * 3);
  for (let from = 0, to = 0; to < data.length; from += 4, to += 3) {
    data[to] = rgba[from];
    data[to + 1] = rgba[from + 1];
    data[to + 2] = rgba[from + 2];
  }
  return { width, height, data };
}
