// The marker segments of a JPEG file (ITU T.81, annex B): frame, tables, and the scans with their positions. Entropy
// decoding and arithmetic on samples are in the neighbouring files.

import { isFrameHeader, printable, viewOf } from "../sniff.ts";
import { UnreadableImageError } from "../image.ts";
import { buildHuffmanTable, type HuffmanTable } from "./huffman.ts";
import { decodeScan } from "./scan.ts";

export interface Component {
  readonly id: number;
  /** Sampling factors, 1..4; the largest of the frame is full resolution. */
  readonly h: number;
  readonly v: number;
  readonly quantTable: number;
  /** Samples that belong to the image: ceil(image size * h / max h). */
  readonly width: number;
  readonly height: number;
  /** Blocks per row and column, padded to whole MCUs. */
  readonly blockColumns: number;
  readonly blockRows: number;
  /** Quantised coefficients: [blockRows, blockColumns, 64], each block in natural (row-major) order. */
  readonly coefficients: Int16Array;
  /** The quantisation table in natural order, as it was when the component's first scan began. */
  quant: Uint16Array | undefined;
}

export interface Frame {
  readonly width: number;
  readonly height: number;
  readonly progressive: boolean;
  readonly maxH: number;
  readonly maxV: number;
  readonly components: readonly Component[];
}

export interface Scan {
  readonly components: readonly { component: Component; dc: HuffmanTable | undefined; ac: HuffmanTable | undefined }[];
  /** Spectral selection and successive approximation; 0, 63, 0, 0 in a sequential file. */
  readonly from: number;
  readonly to: number;
  readonly high: number;
  readonly low: number;
  /** MCUs between restart markers; 0 for none. */
  readonly restartInterval: number;
}

/** A parsed file: coefficients of all scans, and what the file says about its colours. */
export interface Jpeg {
  readonly frame: Frame;
  readonly hasJfif: boolean;
  /** The transform byte of Adobe's APP14 segment; undefined without one. */
  readonly adobeTransform: number | undefined;
}

/** Zigzag position to row-major position in a block (T.81, figure 5): diagonals, in alternating directions. */
export const ZIGZAG: Uint8Array = zigzag();

function zigzag(): Uint8Array {
  const order: number[] = [];
  for (let diagonal = 0; diagonal < 15; diagonal++) {
    const cells: number[] = [];
    for (let y = Math.max(0, diagonal - 7); y <= Math.min(7, diagonal); y++) cells.push(y * 8 + diagonal - y);
    order.push(...(diagonal % 2 === 0 ? cells.reverse() : cells));
  }
  return new Uint8Array(order);
}

const UNSUPPORTED_FRAMES: Record<number, string> = {
  0xc3: "lossless",
  0xc5: "hierarchical",
  0xc6: "hierarchical",
  0xc7: "hierarchical",
  0xc9: "arithmetic-coded",
  0xca: "arithmetic-coded",
  0xcb: "lossless",
  0xcd: "hierarchical",
  0xce: "hierarchical",
  0xcf: "hierarchical",
};

/**
 * Reads all segments and decodes all scans up to the end-of-image marker.
 *
 * Throws UnreadableImageError: `truncated` (no end-of-image marker), `corrupt`, `unsupported`.
 */
export function readJpeg(bytes: Uint8Array): Jpeg {
  const view = viewOf(bytes);
  const quantTables: (Uint16Array | undefined)[] = [];
  const dcTables: (HuffmanTable | undefined)[] = [];
  const acTables: (HuffmanTable | undefined)[] = [];
  let frame: Frame | undefined;
  let hasJfif = false;
  let adobeTransform: number | undefined;
  let restartInterval = 0;
  let at = 2;
  while (true) {
    at = nextMarker(bytes, at);
    const marker = bytes[at + 1];
    at += 2;
    if (marker === 0xd9) break;
    if (marker === 0xd8 || marker === 0x01 || (marker >= 0xd0 && marker <= 0xd7)) continue; // no segment follows
    if (at + 2 > bytes.length) truncated(bytes);
    const length = view.getUint16(at);
    if (length < 2) corrupt(`segment of length ${length} at byte ${at}`);
    if (at + length > bytes.length) truncated(bytes);
    const segment = bytes.subarray(at + 2, at + length);
    at += length;
    if (marker === 0xdb) readQuantTables(segment, quantTables);
    else if (marker === 0xc4) readHuffmanTables(segment, dcTables, acTables);
    else if (marker === 0xdd) {
      if (segment.length < 2) corrupt("restart interval segment too short");
      restartInterval = viewOf(segment).getUint16(0);
    } else if (marker === 0xe0 && printable(segment, 0, 5) === "JFIF." && segment.length >= 12) hasJfif = true;
    else if (marker === 0xee && printable(segment, 0, 5) === "Adobe" && segment.length >= 12) {
      adobeTransform = segment[11];
    } else if (isFrameHeader(marker)) {
      if (frame !== undefined) corrupt("a second frame header");
      frame = readFrame(marker, segment);
    } else if (marker === 0xda) {
      if (frame === undefined) corrupt("a scan before the frame header");
      const scan = readScanHeader(segment, frame, dcTables, acTables, restartInterval);
      for (const { component } of scan.components) {
        // The table in force at a component's first scan counts, even if the file redefines it later.
        component.quant ??= quantTables[component.quantTable];
        if (component.quant === undefined) corrupt(`quantisation table ${component.quantTable} is missing`);
      }
      at = decodeScan(bytes, at, frame, scan);
    }
  }
  if (frame === undefined) corrupt("no frame header");
  for (const component of frame.components) {
    if (component.quant === undefined) corrupt(`component ${component.id} has no scan`);
  }
  return { frame, hasJfif, adobeTransform };
}

/** The position of the next marker's 0xff; other bytes in between are skipped, as libjpeg does (with a warning). */
function nextMarker(bytes: Uint8Array, from: number): number {
  for (let at = from; at + 1 < bytes.length; at++) {
    if (bytes[at] === 0xff && bytes[at + 1] !== 0 && bytes[at + 1] !== 0xff) return at;
  }
  truncated(bytes);
}

function readFrame(marker: number, segment: Uint8Array): Frame {
  const flavour = UNSUPPORTED_FRAMES[marker];
  if (flavour !== undefined) throw new UnreadableImageError("unsupported", `JPEG: ${flavour} files are not decoded`);
  if (segment.length < 6 || segment.length < 6 + 3 * segment[5]) corrupt("frame header too short");
  const view = viewOf(segment);
  const [precision, height, width, count] = [segment[0], view.getUint16(1), view.getUint16(3), segment[5]];
  if (precision !== 8) {
    throw new UnreadableImageError("unsupported", `JPEG: expected 8 bits per sample, got ${precision}`);
  }
  if (count !== 1 && count !== 3 && count !== 4) {
    throw new UnreadableImageError("unsupported", `JPEG: expected 1, 3 or 4 colour components, got ${count}`);
  }
  const specs = Array.from({ length: count }, (_, i) => {
    const [id, sampling, quantTable] = segment.subarray(6 + 3 * i);
    const [h, v] = [sampling >> 4, sampling & 15];
    if (h < 1 || h > 4 || v < 1 || v > 4) corrupt(`sampling factors ${h}x${v}`);
    return { id, h, v, quantTable };
  });
  const maxH = Math.max(...specs.map((c) => c.h));
  const maxV = Math.max(...specs.map((c) => c.v));
  const mcuColumns = Math.ceil(width / (8 * maxH));
  const mcuRows = Math.ceil(height / (8 * maxV));
  const components = specs.map((spec): Component => {
    const blockColumns = mcuColumns * spec.h;
    const blockRows = mcuRows * spec.v;
    return {
      ...spec,
      width: Math.ceil((width * spec.h) / maxH),
      height: Math.ceil((height * spec.v) / maxV),
      blockColumns,
      blockRows,
      coefficients: new Int16Array(blockColumns * blockRows * 64),
      quant: undefined,
    };
  });
  return { width, height, progressive: marker === 0xc2, maxH, maxV, components };
}

function readQuantTables(segment: Uint8Array, tables: (Uint16Array | undefined)[]): void {
  for (let at = 0; at < segment.length;) {
    const [wide, slot] = [segment[at] >> 4, segment[at] & 15];
    const size = 64 * (wide + 1);
    if (wide > 1 || slot > 3 || at + 1 + size > segment.length) corrupt("broken quantisation table");
    const table = new Uint16Array(64);
    for (let k = 0; k < 64; k++) {
      table[ZIGZAG[k]] = wide ? viewOf(segment).getUint16(at + 1 + 2 * k) : segment[at + 1 + k];
    }
    tables[slot] = table;
    at += 1 + size;
  }
}

function readHuffmanTables(
  segment: Uint8Array,
  dcTables: (HuffmanTable | undefined)[],
  acTables: (HuffmanTable | undefined)[],
): void {
  for (let at = 0; at < segment.length;) {
    const [kind, slot] = [segment[at] >> 4, segment[at] & 15];
    const counts = segment.subarray(at + 1, at + 17);
    const total = counts.reduce((sum, n) => sum + n, 0);
    if (kind > 1 || slot > 3 || total > 256 || at + 17 + total > segment.length) corrupt("broken Huffman table");
    const table = buildHuffmanTable(counts, segment.subarray(at + 17, at + 17 + total));
    (kind === 0 ? dcTables : acTables)[slot] = table;
    at += 17 + total;
  }
}

function readScanHeader(
  segment: Uint8Array,
  frame: Frame,
  dcTables: (HuffmanTable | undefined)[],
  acTables: (HuffmanTable | undefined)[],
  restartInterval: number,
): Scan {
  const count = segment[0];
  if (!(count >= 1 && count <= 4) || segment.length < 4 + 2 * count) corrupt("broken scan header");
  const components = Array.from({ length: count }, (_, i) => {
    const [id, tables] = segment.subarray(1 + 2 * i);
    const component = frame.components.find((c) => c.id === id);
    if (component === undefined) corrupt(`a scan names component ${id}, which the frame lacks`);
    return { component, dc: dcTables[tables >> 4], ac: acTables[tables & 15] };
  });
  if (new Set(components.map((c) => c.component)).size !== count) corrupt("a scan names a component twice");
  if (!frame.progressive) return { components, from: 0, to: 63, high: 0, low: 0, restartInterval };
  const [from, to, approximation] = segment.subarray(1 + 2 * count);
  const [high, low] = [approximation >> 4, approximation & 15];
  const validBand = from === 0 ? to === 0 : from <= to && to <= 63 && count === 1;
  if (!validBand || low > 13 || (high !== 0 && high !== low + 1)) {
    corrupt(`progressive scan of coefficients ${from}..${to}, bits ${high}..${low}`);
  }
  return { components, from, to, high, low, restartInterval };
}

export function corrupt(what: string): never {
  throw new UnreadableImageError("corrupt", `JPEG: ${what}`);
}

export function truncated(bytes: Uint8Array): never {
  throw new UnreadableImageError(
    "truncated",
    `JPEG: the file ends at byte ${bytes.length}, before the end-of-image marker`,
  );
}
