// Decodes PNG files with 16 bits per sample (PNG specification, 7 to 10). ImageMagick's 8-bit build rounds such samples,
// while Pillow and browsers take their high bytes.

import { crc32, inflateSync } from "node:zlib";
import { ascii, viewOf } from "./bytes.ts";
import { type RgbImage, UnreadableImageError } from "./image.ts";
import { PNG_SIGNATURE, readChunks } from "./png_chunks.ts";

/** Samples per pixel by colour type: grey, RGB, grey with alpha, RGB with alpha. */
const samplesOf: Readonly<Record<number, number>> = { 0: 1, 2: 3, 4: 2, 6: 4 };

/** A reduced image of an interlaced file: its first pixel and its steps, in pixels. */
interface Pass {
  readonly x: number;
  readonly y: number;
  readonly dx: number;
  readonly dy: number;
}

const wholeImage: readonly Pass[] = [{ x: 0, y: 0, dx: 1, dy: 1 }];

/** Adam7 (PNG specification, 8.2). */
const adam7: readonly Pass[] = [
  { x: 0, y: 0, dx: 8, dy: 8 },
  { x: 4, y: 0, dx: 8, dy: 8 },
  { x: 0, y: 4, dx: 4, dy: 8 },
  { x: 2, y: 0, dx: 4, dy: 4 },
  { x: 0, y: 2, dx: 2, dy: 4 },
  { x: 1, y: 0, dx: 2, dy: 2 },
  { x: 0, y: 1, dx: 1, dy: 2 },
];

/** Whether a PNG has 16 bits per sample. */
export function isDeep(bytes: Uint8Array): boolean {
  return bytes[24] === 16;
}

/**
 * The high bytes of the samples of a PNG with 16 bits per sample; grey becomes RGB, alpha is dropped. Throws
 * UnreadableImageError: `truncated`, `corrupt`, `unsupported`.
 */
export function decodeDeepPng(bytes: Uint8Array): RgbImage {
  const { file } = readChunks(bytes);
  const view = viewOf(file), width = view.getUint32(16), height = view.getUint32(20);
  const [, colourType, compression, filter, interlace] = file.subarray(24, 29);
  const samples = samplesOf[colourType];
  if (samples === undefined) throw corrupt(`16 bits per sample with colour type ${colourType}`);
  if (compression !== 0 || filter !== 0 || interlace > 1) {
    throw new UnreadableImageError("unsupported", "PNG: unknown method of compression, filters or interlacing");
  }
  const image = { width, height, data: new Uint8Array(3 * width * height) };
  const passes = interlace === 0 ? wholeImage : adam7;
  const rows = passes.map((pass) => rowsOf(pass, image)), pixelBytes = 2 * samples;
  const length = rows.reduce(
    (sum, { columns, rows }) => sum + (columns === 0 ? 0 : rows * (1 + columns * pixelBytes)),
    0,
  );
  const content = inflate(imageData(file), length);
  let at = 0;
  passes.forEach((pass, i) => {
    const size = rows[i];
    if (size.columns === 0) return;
    const end = at + size.rows * (1 + size.columns * pixelBytes);
    unfilter(content.subarray(at, end), size, pixelBytes, samples < 3 ? 1 : 3);
    place(content.subarray(at, end), pass, size, samples, image);
    at = end;
  });
  return image;
}

/** Pixels per row of a pass, and its rows. */
interface PassSize {
  readonly columns: number;
  readonly rows: number;
}

function rowsOf({ x, y, dx, dy }: Pass, { width, height }: RgbImage): PassSize {
  return { columns: Math.max(0, Math.ceil((width - x) / dx)), rows: Math.max(0, Math.ceil((height - y) / dy)) };
}

/** The contents of the chunks IDAT. Checks the checksums of all chunks, which are those that pixels depend on. */
function imageData(file: Uint8Array): Uint8Array {
  const view = viewOf(file);
  const parts: Uint8Array[] = [];
  for (let at = PNG_SIGNATURE.length; at + 12 <= file.length;) {
    const end = at + 12 + view.getUint32(at), type = ascii(file, at + 4, 4);
    if (end > file.length || crc32(file.subarray(at + 4, end - 4)) !== view.getUint32(end - 4)) {
      throw corrupt(`${type}: CRC error`);
    }
    if (type === "IDAT") parts.push(file.subarray(at + 8, end - 4));
    else if (!["IHDR", "PLTE", "tRNS", "IEND"].includes(type)) {
      throw new UnreadableImageError("unsupported", `PNG: unhandled critical chunk ${type}`);
    }
    at = end;
  }
  if (parts.length === 1) return parts[0];
  const data = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    data.set(part, at);
    at += part.length;
  }
  return data;
}

/** Inflates to `length` bytes, and no more. */
function inflate(data: Uint8Array, length: number): Uint8Array {
  let content: Uint8Array;
  try {
    content = inflateSync(data, { maxOutputLength: length });
  } catch (cause) {
    const { code, message } = cause as Error & { code?: string };
    throw corrupt(code === "ERR_BUFFER_TOO_LARGE" ? "Too much image data" : message, cause);
  }
  if (content.length < length) throw corrupt("Not enough image data");
  return content;
}

/**
 * Undoes the filters of the rows in place, for the first byte of each of the `colours` samples of a pixel (PNG
 * specification, 9). A byte depends on the same byte of other pixels only, so that low bytes and alpha stay as they are.
 * Each row has the type of its filter before it.
 */
function unfilter(content: Uint8Array, { columns, rows }: PassSize, pixelBytes: number, colours: number): void {
  const stride = columns * pixelBytes;
  let above: Uint8Array = new Uint8Array(stride);
  for (let y = 0; y < rows; y++) {
    const start = y * (1 + stride) + 1;
    const row = content.subarray(start, start + stride), type = content[start - 1];
    if (type > 4) throw corrupt(`bad adaptive filter value ${type}`);
    for (let c = 0; c < colours; c++) unfilterBytes(type, row, above, 2 * c, pixelBytes);
    above = row;
  }
}

/** Undoes a filter for the bytes `at`, `at + n` and so on. The array keeps the low eight bits of a sum. */
function unfilterBytes(type: number, row: Uint8Array, above: Uint8Array, at: number, n: number): void {
  // Before the first pixel of a row there is 0.
  if (type === 2 || type === 4) row[at] += above[at];
  if (type === 3) row[at] += above[at] >> 1;
  const { length } = row;
  if (type === 1) { for (let i = at + n; i < length; i += n) row[i] += row[i - n]; }
  if (type === 2) { for (let i = at + n; i < length; i += n) row[i] += above[i]; }
  if (type === 3) { for (let i = at + n; i < length; i += n) row[i] += (row[i - n] + above[i]) >> 1; }
  if (type === 4) { for (let i = at + n; i < length; i += n) row[i] += paeth(row[i - n], above[i], above[i - n]); }
}

/** The neighbour that is nearest to left + up - corner. */
function paeth(left: number, up: number, corner: number): number {
  const toLeft = Math.abs(up - corner), toUp = Math.abs(left - corner), toCorner = Math.abs(left + up - 2 * corner);
  if (toLeft <= toUp && toLeft <= toCorner) return left;
  return toUp <= toCorner ? up : corner;
}

/** Puts the high bytes of a pass where they belong. */
function place(
  content: Uint8Array,
  { x, y, dx, dy }: Pass,
  { columns, rows }: PassSize,
  samples: number,
  { width, data }: RgbImage,
): void {
  const [green, blue] = samples < 3 ? [0, 0] : [2, 4];
  for (let j = 0; j < rows; j++) {
    let from = j * (1 + 2 * samples * columns) + 1;
    let to = 3 * ((y + j * dy) * width + x);
    for (let i = 0; i < columns; i++, from += 2 * samples, to += 3 * dx) {
      data[to] = content[from];
      data[to + 1] = content[from + green];
      data[to + 2] = content[from + blue];
    }
  }
}

function corrupt(message: string, cause?: unknown): UnreadableImageError {
  return new UnreadableImageError("corrupt", `PNG: ${message}`, { cause });
}
