/** Checks the sizes of labelled images before a set is calibrated. */
import type { ModelSet } from "../../models/model_set.ts";
import { readImageBytes } from "../images/decode.ts";
import { UnreadableImageError } from "../images/image.ts";
import type { LabelledImage } from "../images/labelled.ts";
import { sniff } from "../images/sniff.ts";
import { type Labels, outlierLabel } from "../labels.ts";

/**
 * Throws where images of a variant have another size than it draws, and would be judged as images of other models.
 * Where all models draw one size, this is noted: such images are resized, which removes traces. Also notes sizes of
 * which there are no outliers. Images that cannot be read are left to who measures them.
 */
export async function requireSizes(
  set: Pick<ModelSet, "families" | "tokenizerFacts">,
  images: readonly Pick<LabelledImage, "imageName" | "path" | "label">[],
  labels: Labels,
  { maxPixels, onNote }: { readonly maxPixels?: number; readonly onNote?: (text: string) => void } = {},
): Promise<void> {
  const sizes = new Set(set.families.map((family) => set.tokenizerFacts(family).imageSize));
  const wrong = new Map<string, { of: string; names: string[] }>(), seen = new Set<number>();
  for (const { imageName, path, label } of images) {
    const header = await headerOf(path, maxPixels);
    if (header === undefined) continue;
    const { width, height } = header;
    const family = labels.familyOf(label);
    if (family === null) {
      seen.add(Math.min(width, height));
      continue;
    }
    const { imageSize: size } = set.tokenizerFacts(family);
    if (width === size && height === size) continue;
    const row = wrong.get(`${label} ${width}x${height}`) ?? { of: `${label} draws ${size}x${size}`, names: [] };
    row.names.push(imageName);
    wrong.set(`${label} ${width}x${height}`, row);
  }
  if (wrong.size > 0) {
    const lines = [...wrong].map(([what, { of, names }]) =>
      `${names.length} of ${what} pixels, such as ${names[0]}: ${of}`
    );
    const text = `images of another size than their model draws: ${lines.join("; ")}`;
    if (sizes.size > 1) {
      throw new Error(
        `calibration: ${text}. An image is judged by the models of its own size: give the images as they were drawn, ` +
          "or leave them out",
      );
    }
    onNote?.(`${text}. They are resized, which removes traces: the calibration will be that of resized images`);
  }
  if (sizes.size < 2) return;
  for (const size of sizes) {
    if (seen.has(size)) continue;
    onNote?.(
      `no ${outlierLabel} has ${size} pixels: what is no trace of the models of that size is told by few images`,
    );
  }
}

async function headerOf(path: string, maxPixels: number | undefined) {
  try {
    return sniff(await readImageBytes(path, maxPixels));
  } catch (error) {
    if (error instanceof UnreadableImageError) return undefined;
    throw error;
  }
}
