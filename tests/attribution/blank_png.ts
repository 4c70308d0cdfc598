/** PNG files that are blank, and as large or as dishonest about their size as a test wants. */
import { Buffer } from "node:buffer";
import { crc32, deflateSync } from "node:zlib";

export interface BlankPng {
  readonly width: number;
  /** What the header says. */
  readonly height: number;
  /** Rows that there are; as many as the header says when not given. */
  readonly rows?: number;
  /** 1-bit grey or 8-bit RGB. */
  readonly colour: "grey" | "rgb";
}

/** The file; its pixels are all zero and deflate to almost nothing. */
export function blankPng({ width, height, rows = height, colour }: BlankPng): Uint8Array<ArrayBuffer> {
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header.set(colour === "grey" ? [1, 0] : [8, 2], 8);
  const rowBytes = 1 + (colour === "grey" ? Math.ceil(width / 8) : 3 * width);
  const pixels = deflateSync(new Uint8Array(rows * rowBytes));
  const signature = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);
  const parts = [signature, pngChunk("IHDR", header), pngChunk("IDAT", pixels), pngChunk("IEND", new Uint8Array(0))];
  return Uint8Array.from(Buffer.concat(parts));
}

/** A chunk with its length and checksum. */
function pngChunk(type: string, content: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(12 + content.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, content.length);
  bytes.set(new TextEncoder().encode(type), 4);
  bytes.set(content, 8);
  view.setUint32(8 + content.length, crc32(bytes.subarray(4, 8 + content.length)));
  return bytes;
}
