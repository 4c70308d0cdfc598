// Images of examples/Dataset for the tests of facts, and what edits make of them.

import { decodeImage, type RgbImage } from "../../../../attribution/images/decode.ts";
import { applyEdits, type Edited, parseEdits } from "../../../../attribution/images/edits/mod.ts";

const folder = new URL("../../../../examples/Dataset/", import.meta.url);

async function read(label: string, names: readonly number[]): Promise<readonly RgbImage[]> {
  return await Promise.all(names.map((name) => {
    const file = `${label}/${String(name).padStart(3, "0")}.png`;
    return decodeImage(Deno.readFileSync(new URL(file, folder)), { name: file });
  }));
}

/** Generated images, 64x64 pixels. */
export const generated: readonly RgbImage[] = [
  ...await read("train/rarb", [1, 2, 3, 4]),
  ...await read("train/rarxxl", [5, 6]),
  ...await read("train/var16", [7, 8]),
  ...await read("train/var30", [9, 10, 11, 12]),
];

/** Photographs in colour, reduced in size: none was compressed at this size. */
export const photographs: readonly RgbImage[] = await read("val/outlier", [12, 14, 20, 34, 40, 45, 46, 47]);

/** Images after edits in text form, such as `jpeg:75,crop:3`. */
export async function edited(images: readonly RgbImage[], edits: string): Promise<readonly Edited[]> {
  const results: Edited[] = [];
  for (const image of images) results.push(await applyEdits(image, parseEdits(edits)));
  return results;
}
