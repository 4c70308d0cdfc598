/** Kinds of processing, as far as an image's facts show them: images of one kind are compared with each other. */
import type { ImageFacts } from "../../images/facts/facts.ts";

/** The kind of images that show no processing. */
export const untouched = "untouched";

/** Images with at most so many colours have a palette. */
const mostPaletteColours = 256;

/** The kinds that an image belongs to, at least one. */
export function historyKinds(facts: ImageFacts | undefined): readonly string[] {
  if (facts === undefined) return [untouched];
  const { file, colours, earlierJpeg, earlierWebp, resampling, levels } = facts;
  const kinds: string[] = [];
  if (colours <= mostPaletteColours) kinds.push("few-colours");
  if (earlierWebp !== undefined || (file?.format === "webp" && !file.lossless)) kinds.push("webp");
  const jpegs = [...file?.jpeg === undefined ? [] : [file.jpeg], ...earlierJpeg === undefined ? [] : [earlierJpeg]];
  if (jpegs.length > 0) kinds.push(jpegKind(jpegs.map(({ quality }) => quality)));
  if (resampling !== undefined) kinds.push("resampled");
  if (levels !== undefined) kinds.push("levels");
  return kinds.length === 0 ? [untouched] : kinds;
}

/** The kind that says most about an image. */
export function mainKind(facts: ImageFacts | undefined): string {
  return historyKinds(facts)[0];
}

/** By the lowest quality that is known. */
function jpegKind(qualities: readonly (number | null)[]): string {
  const known = qualities.filter((quality) => quality !== null);
  const least = Math.min(...known);
  return known.length === 0 || (least < 90 && least >= 70) ? "jpeg-75" : least >= 90 ? "jpeg-90" : "jpeg-low";
}
