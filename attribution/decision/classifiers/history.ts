/** Kinds of processing, as far as an image's facts show them: images of one kind are compared with each other. */
import type { ImageFacts } from "../../images/facts/facts.ts";

/** The kind of images that show no processing. */
export const untouched = "untouched";

/** The kinds that an image belongs to, at least one. */
export function historyKinds(facts: ImageFacts | undefined): readonly string[] {
  if (facts === undefined) return [untouched];
  const { file, colours, earlierJpeg, resampling } = facts;
  const kinds: string[] = [];
  if (file?.format === "jpeg") kinds.push(jpegKind(file.jpeg?.quality ?? null));
  else if (file?.format === "webp" && !file.lossless) kinds.push("webp");
  else if (earlierJpeg !== undefined) kinds.push(jpegKind(earlierJpeg.quality));
  if (colours <= 256) kinds.push("few-colours");
  if (resampling !== undefined) kinds.push("resampled");
  return kinds.length === 0 ? [untouched] : kinds;
}

function jpegKind(quality: number | null): string {
  if (quality === null) return "jpeg";
  return quality >= 90 ? "jpeg-90" : quality >= 75 ? "jpeg-75" : "jpeg-low";
}
