// PNG (ISO/IEC 15948) to RGB and back, over the DEFLATE of node:zlib, strict about checksums and sizes. It ignores
// colour management (gAMA, iCCP, sRGB), transparency and animation on purpose: the reference reads pixels the same way,
// with Pillow's `Image.open(path).convert("RGB")`, which drops alpha without compositing.

import { Buffer } from "node:buffer";
import { crc32, deflateSync, inflateSync } from "node:zlib";
import { type RgbImage, UnreadableImageError } from "./image.ts";
import { PNG_SIGNATURE, printable, viewOf } from "./sniff.ts";

interface Header {
  readonly width: number;
  readonly height: number;
  /** Bits per sample: 1, 2, 4, 8 or 16. */
  readonly depth: number;
  readonly colour: Colour;
  readonly interlaced: boolean;
}

type Colour = 0 | 2 | 3 | 4 | 6;

/** Samples per pixel and allowed depths by colour type (grey, RGB, palette, grey + alpha, RGB + alpha). */
const COLOURS: Record<Colour, { samples: number; depths: readonly number[] }> = {
  0: { samples: 1, depths: [1, 2, 4, 8, 16] },
  2: { samples: 3, depths: [8, 16] },
  3: { samples: 1, depths: [1, 2, 4, 8] },
  4: { samples: 2, depths: [8, 16] },
  6: { samples: 4, depths: [8, 16] },
};

/** The seven passes of Adam7: first column and row, and the steps between columns and rows. */
const ADAM7 = [
  { x: 0, y: 0, dx: 8, dy: 8 },
  { x: 4, y: 0, dx: 8, dy: 8 },
  { x: 0, y: 4, dx: 4, dy: 8 },
  { x: 2, y: 0, dx: 4, dy: 4 },
  { x: 0, y: 2, dx: 2, dy: 4 },
  { x: 1, y: 0, dx: 2, dy: 2 },
  { x: 0, y: 1, dx: 1, dy: 2 },
];
const ONE_PASS = [{ x: 0, y: 0, dx: 1, dy: 1 }];

/**
 * Decodes a PNG of any colour type and depth, interlaced or not; of an animated PNG the default image.
 *
 * Pixels equal Pillow's `convert("RGB")`: 16-bit samples give their high byte, alpha and tRNS are dropped. One exception:
 * 16-bit grey also gives its high byte here, where Pillow clips values above 255 to white.
 *
 * Throws UnreadableImageError: `truncated`, `corrupt` (checksum, order or size of chunks, DEFLATE data, palette index),
 * `unsupported` (unknown critical chunk or compression).
 */
export function decodePng(bytes: Uint8Array): RgbImage {
  const { header, palette, idat } = readChunks(bytes);
  const { samples } = COLOURS[header.colour];
  const bitsPerPixel = samples * header.depth;
  const passes = (header.interlaced ? ADAM7 : ONE_PASS)
    .map((pass) => ({
      ...pass,
      columns: Math.ceil((header.width - pass.x) / pass.dx),
      rows: Math.ceil((header.height - pass.y) / pass.dy),
    }))
    .filter((pass) => pass.columns > 0 && pass.rows > 0); // empty passes have no filter bytes either
  const rowBytes = (columns: number) => Math.ceil((columns * bitsPerPixel) / 8);
  const expected = passes.reduce((sum, pass) => sum + pass.rows * (1 + rowBytes(pass.columns)), 0);
  const raw = inflate(idat, expected);
  const data = new Uint8Array(header.width * header.height * 3);
  let at = 0;
  for (const pass of passes) {
    const stride = rowBytes(pass.columns);
    unfilter(raw, at, pass.rows, stride, Math.max(1, bitsPerPixel >> 3));
    for (let row = 0; row < pass.rows; row++) {
      const line = raw.subarray(at + row * (stride + 1) + 1, at + (row + 1) * (stride + 1));
      const target = ((pass.y + row * pass.dy) * header.width + pass.x) * 3;
      writeRow(line, pass.columns, header, palette, data, target, pass.dx * 3);
    }
    at += pass.rows * (stride + 1);
  }
  return { width: header.width, height: header.height, data };
}

/** Walks the chunks, checks every checksum up to IEND and joins the image data. */
function readChunks(bytes: Uint8Array): { header: Header; palette: Uint8Array | undefined; idat: Uint8Array } {
  const view = viewOf(bytes);
  let header: Header | undefined;
  let palette: Uint8Array | undefined;
  const parts: Uint8Array[] = [];
  let previous = "";
  for (let at = PNG_SIGNATURE.length;;) {
    if (at + 12 > bytes.length) {
      throw new UnreadableImageError("truncated", `PNG: the file ends at byte ${bytes.length}, before the chunk IEND`);
    }
    const length = view.getUint32(at);
    const type = printable(bytes, at + 4, 4);
    const end = at + 12 + length;
    if (end > bytes.length) {
      throw new UnreadableImageError(
        "truncated",
        `PNG: the file ends within the chunk ${type} (${bytes.length - at - 8} of ${length + 4} bytes)`,
      );
    }
    const content = bytes.subarray(at + 8, at + 8 + length);
    if (crc32(bytes.subarray(at + 4, at + 8 + length)) !== view.getUint32(at + 8 + length)) {
      throw new UnreadableImageError("corrupt", `PNG: the checksum of the chunk ${type} at byte ${at} does not match`);
    }
    if (header === undefined && type !== "IHDR") corrupt(`expected the chunk IHDR first, got ${type}`);
    if (type === "IHDR") {
      if (header !== undefined) corrupt("a second chunk IHDR");
      header = parseHeader(content);
    } else if (type === "PLTE") {
      if (length === 0 || length % 3 !== 0 || length > 768) corrupt(`palette of ${length} bytes`);
      palette = content;
    } else if (type === "IDAT") {
      if (parts.length > 0 && previous !== "IDAT") corrupt("chunks between the image data chunks");
      parts.push(content);
    } else if (type === "IEND") break;
    else if ((bytes[at + 4] & 0x20) === 0) {
      throw new UnreadableImageError("unsupported", `PNG: unknown critical chunk ${type}`);
    }
    previous = type;
    at = end;
  }
  if (header === undefined || parts.length === 0) corrupt("no image data");
  if (header.colour === 3 && palette === undefined) corrupt("a palette image without a palette");
  return { header, palette, idat: parts.length === 1 ? parts[0] : Buffer.concat(parts) };
}

function parseHeader(content: Uint8Array): Header {
  if (content.length !== 13) corrupt(`IHDR of ${content.length} bytes, expected 13`);
  const view = viewOf(content);
  const [depth, colour, compression, filter, interlace] = content.subarray(8);
  if (!(colour in COLOURS) || !COLOURS[colour as Colour].depths.includes(depth)) {
    corrupt(`colour type ${colour} with ${depth} bits per sample does not exist`);
  }
  if (compression !== 0 || filter !== 0 || interlace > 1) {
    throw new UnreadableImageError(
      "unsupported",
      `PNG: compression ${compression}, filter ${filter}, interlace ${interlace}; only 0, 0 and 0 or 1 exist`,
    );
  }
  return {
    width: view.getUint32(0),
    height: view.getUint32(4),
    depth,
    colour: colour as Colour,
    interlaced: interlace === 1,
  };
}

/** Inflates to exactly `expected` bytes; never allocates more, whatever the compressed data would expand to. */
function inflate(idat: Uint8Array, expected: number): Uint8Array {
  let raw: Uint8Array;
  try {
    // One chunk with room for one byte too many: no second buffer to join.
    raw = inflateSync(idat, { maxOutputLength: expected, chunkSize: Math.max(expected + 1, 64) });
  } catch (cause) {
    const code = (cause as { code?: string }).code;
    if (code === "ERR_BUFFER_TOO_LARGE") corrupt(`the image data inflates to more than the header's ${expected} bytes`);
    if (code === "Z_BUF_ERROR") {
      throw new UnreadableImageError("truncated", "PNG: the compressed image data ends early", { cause });
    }
    throw new UnreadableImageError("corrupt", `PNG: cannot inflate the image data: ${(cause as Error).message}`, {
      cause,
    });
  }
  if (raw.length < expected) {
    throw new UnreadableImageError(
      "truncated",
      `PNG: the image data inflates to ${raw.length} bytes, the header needs ${expected}`,
    );
  }
  return raw;
}

/** Undoes the row filters in place. `bpp` is the distance in bytes to the pixel on the left (section 9 of the standard). */
function unfilter(raw: Uint8Array, start: number, rows: number, stride: number, bpp: number): void {
  for (let row = 0; row < rows; row++) {
    const at = start + row * (stride + 1);
    const first = at + 1;
    const end = first + stride;
    const up = row === 0 ? -1 : stride + 1; // distance to the byte above; the row above the first one is all zeros
    const filter = raw[at];
    if (filter === 0) continue;
    if (filter === 1) {
      for (let i = first + bpp; i < end; i++) raw[i] += raw[i - bpp];
    } else if (filter === 2) {
      if (up > 0) { for (let i = first; i < end; i++) raw[i] += raw[i - up]; }
    } else if (filter === 3) {
      for (let i = first; i < end; i++) {
        const left = i - first < bpp ? 0 : raw[i - bpp];
        raw[i] += (left + (up > 0 ? raw[i - up] : 0)) >> 1;
      }
    } else if (filter === 4) {
      for (let i = first; i < end; i++) {
        const inside = i - first >= bpp;
        const left = inside ? raw[i - bpp] : 0;
        const above = up > 0 ? raw[i - up] : 0;
        const corner = inside && up > 0 ? raw[i - up - bpp] : 0;
        raw[i] += paeth(left, above, corner);
      }
    } else corrupt(`row filter ${filter} does not exist`);
  }
}

/** Whichever of left, above and corner is nearest to left + above - corner; ties in that order. */
function paeth(left: number, above: number, corner: number): number {
  const toLeft = Math.abs(above - corner);
  const toAbove = Math.abs(left - corner);
  const toCorner = Math.abs(left + above - 2 * corner);
  if (toLeft <= toAbove && toLeft <= toCorner) return left;
  return toAbove <= toCorner ? above : corner;
}

/** One unfiltered row to RGB pixels at `target`, `step` bytes apart. */
function writeRow(
  line: Uint8Array,
  columns: number,
  header: Header,
  palette: Uint8Array | undefined,
  data: Uint8Array,
  target: number,
  step: number,
): void {
  const { depth, colour } = header;
  if (colour === 2 && depth === 8 && step === 3) {
    data.set(line, target);
    return;
  }
  const { samples } = COLOURS[colour];
  const max = (1 << Math.min(depth, 8)) - 1;
  const scale = colour === 3 ? 1 : 255 / max; // 255, 85, 17 or 1: the divisions are exact
  const sampleBytes = depth === 16 ? 2 : 1; // of 16 bits, the high byte comes first
  for (let x = 0; x < columns; x++, target += step) {
    if (colour === 2 || colour === 6) {
      const at = x * samples * sampleBytes;
      data[target] = line[at];
      data[target + 1] = line[at + sampleBytes];
      data[target + 2] = line[at + 2 * sampleBytes];
      continue;
    }
    const value = depth < 8
      ? ((line[(x * depth) >> 3] >> (8 - depth - ((x * depth) & 7))) & max) * scale
      : line[x * samples * sampleBytes];
    if (colour === 3) {
      const entry = value * 3;
      if (palette === undefined || entry >= palette.length) {
        corrupt(`palette index ${value}, the palette has ${(palette?.length ?? 0) / 3} entries`);
      }
      data[target] = palette[entry];
      data[target + 1] = palette[entry + 1];
      data[target + 2] = palette[entry + 2];
    } else data[target] = data[target + 1] = data[target + 2] = value;
  }
}

function corrupt(what: string): never {
  throw new UnreadableImageError("corrupt", `PNG: ${what}`);
}

/**
 * Encodes an 8-bit RGB PNG, not interlaced, without metadata; `decodePng(writePng(image))` gives the same pixels.
 *
 * Throws RangeError if `data` is not width * height * 3 bytes.
 */
export function writePng(image: RgbImage): Uint8Array {
  const { width, height, data } = image;
  if (!(width >= 1 && height >= 1) || data.length !== width * height * 3) {
    throw new RangeError(`encodePng: ${width}x${height} RGB expects ${width * height * 3} bytes, got ${data.length}`);
  }
  const header = new Uint8Array(13);
  const view = viewOf(header);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header.set([8, 2, 0, 0, 0], 8);
  return Buffer.concat([
    new Uint8Array(PNG_SIGNATURE),
    chunk("IHDR", header),
    chunk("IDAT", deflateSync(filterRows(data, width * 3, height), { level: 6 })),
    chunk("IEND", new Uint8Array(0)),
  ]);
}

function chunk(type: string, content: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(12 + content.length);
  const view = viewOf(bytes);
  view.setUint32(0, content.length);
  for (let i = 0; i < 4; i++) bytes[4 + i] = type.charCodeAt(i);
  bytes.set(content, 8);
  view.setUint32(8 + content.length, crc32(bytes.subarray(4, 8 + content.length)));
  return bytes;
}

/** Each row with the filter whose output has the smallest sum of magnitudes, the heuristic that the standard suggests. */
function filterRows(data: Uint8Array, stride: number, rows: number): Uint8Array {
  const out = new Uint8Array(rows * (stride + 1));
  const candidates = [0, 1, 2, 3, 4].map(() => new Uint8Array(stride));
  for (let row = 0; row < rows; row++) {
    const at = row * stride;
    const sums = [0, 0, 0, 0, 0];
    for (let i = 0; i < stride; i++) {
      const value = data[at + i];
      const left = i < 3 ? 0 : data[at + i - 3];
      const above = row === 0 ? 0 : data[at + i - stride];
      const corner = i < 3 || row === 0 ? 0 : data[at + i - stride - 3];
      const predictions = [0, left, above, (left + above) >> 1, paeth(left, above, corner)];
      for (let filter = 0; filter < 5; filter++) {
        const residual = (value - predictions[filter]) & 255;
        candidates[filter][i] = residual;
        sums[filter] += residual < 128 ? residual : 256 - residual;
      }
    }
    const best = sums.indexOf(Math.min(...sums));
    out[row * (stride + 1)] = best;
    out.set(candidates[best], row * (stride + 1) + 1);
  }
  return out;
}
