// How a file stores its image, from what the parsers of the formats read. Nothing is decoded.

import { type JpegFile, readSegments } from "../jpeg_segments.ts";
import { readChunks } from "../png_chunks.ts";
import { sniff } from "../sniff.ts";
import { readWebp } from "../webp.ts";
import type { FileFacts } from "./facts.ts";
import { exactQuality, inRows, nearestQuality } from "./jpeg_tables.ts";

/** Facts about a file that decodeImage() decodes. Throws UnreadableImageError as it does. */
export function fileFacts(bytes: Uint8Array): FileFacts {
  const { format } = sniff(bytes);
  if (format === "jpeg") {
    const file = readSegments(bytes);
    const { frame, metadata, pictures } = file;
    return { format, jpeg: jpegFacts(file), depth: frame.depth, transparency: false, pictures, ...metadata };
  }
  if (format === "png") {
    const { depth, transparency, pictures, metadata } = readChunks(bytes);
    return { format, depth, transparency, pictures, ...metadata };
  }
  const { lossless, transparency, frames, exif, creatorTool } = readWebp(bytes);
  const software = exif.software ?? creatorTool;
  return {
    ...{ format, lossless, depth: 8, transparency, pictures: Math.max(1, frames) },
    ...exif,
    ...software !== undefined && { software },
  };
}

/** The steps of a file's luma and chroma, row by row. Chroma is absent where it has luma's table, or no table. */
export function stepsOf({ frame: { components }, tables }: JpegFile): { luma?: Uint16Array; chroma?: Uint16Array } {
  const [luma, chroma = luma] = components.map(({ table }) => table);
  const steps = (table: number) => tables.has(table) ? inRows(tables.get(table)!) : undefined;
  return { luma: steps(luma), chroma: chroma === luma ? undefined : steps(chroma) };
}

function jpegFacts(file: JpegFile): FileFacts["jpeg"] {
  const { luma, chroma } = stepsOf(file);
  return {
    quality: luma === undefined ? null : exactQuality(luma, chroma),
    ...luma !== undefined && { nearestQuality: nearestQuality(luma) },
    subsampling: subsamplingOf(file),
    progressive: file.frame.progressive,
  };
}

/** Names by the factors of luma and chroma. */
const names: Readonly<Record<string, string>> = {
  ...{ "1x1,1x1,1x1": "4:4:4", "2x1,1x1,1x1": "4:2:2", "2x2,1x1,1x1": "4:2:0" },
  ...{ "1x2,1x1,1x1": "4:4:0", "4x1,1x1,1x1": "4:1:1", "4x2,1x1,1x1": "4:1:0" },
};

/** `1` for a single channel, and the factors of all components where the field has no name for them. */
function subsamplingOf({ frame: { components } }: JpegFile): string {
  if (components.length === 1) return "1";
  const factors = components.map(({ horizontal, vertical }) => `${horizontal}x${vertical}`).join(",");
  return names[factors] ?? factors;
}
