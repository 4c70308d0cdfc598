// Applies edits to an image as it is stored.

import { normals } from "../../../core/tensor/mod.ts";
import { brightness8, contrast8, encodeJpeg, gaussianBlur8, resizeAndBack8, saturation8 } from "../augment/mod.ts";
import { decodeImage } from "../decode.ts";
import type { RgbImage } from "../image.ts";
import { pilResize } from "../pil_resize.ts";
import { encodeWebp, palette } from "./codecs.ts";
import { checkEdit, type Edit, type EditName, type EditOf } from "./edit.ts";
import { canvas, crop, mirror, resizeNearest, shift, turn } from "./geometry.ts";

/** An image after edits. */
export interface Edited {
  /** The pixels. */
  readonly image: RgbImage;
  /** The file that holds them, if the last edit wrote one (jpeg or webp). */
  readonly bytes?: Uint8Array<ArrayBuffer>;
}

/** Edits that give pixels. */
const PIXELS: { readonly [N in Exclude<EditName, "jpeg" | "webp">]: Apply<EditOf<N>, RgbImage> } = {
  noise,
  brightness: (image, { factor }) => brightness8(image, factor),
  contrast: (image, { factor }) => contrast8(image, factor),
  saturation: (image, { factor }) => saturation8(image, factor),
  palette,
  blur,
  resize,
  resizeBack: (image, { ratio }) => resizeAndBack8(image, ratio),
  mirror,
  turn,
  crop,
  shift,
  canvas,
  grey: (image) => saturation8(image, 0),
};

/** Edits that give a file. */
const FILES: { readonly [N in "jpeg" | "webp"]: Apply<EditOf<N>, Uint8Array> } = {
  jpeg: (image, { quality, subsampling }) => encodeJpeg(image, quality, subsampling),
  webp: (image, { quality }) => encodeWebp(image, quality),
};

type Apply<E, Out> = (image: RgbImage, edit: E) => Out | Promise<Out>;

/**
 * Applies edits in order. The result depends on image and edits only. Throws RangeError for values out of range, and
 * for images that are too small or too large for an edit.
 */
export async function applyEdits(image: RgbImage, edits: readonly Edit[]): Promise<Edited> {
  let edited: Edited = { image };
  for (const edit of edits) edited = await applyEdit(edited.image, checkEdit(edit));
  return edited;
}

async function applyEdit(image: RgbImage, edit: Edit): Promise<Edited> {
  if (edit.name !== "jpeg" && edit.name !== "webp") {
    const apply = PIXELS[edit.name] as Apply<Edit, RgbImage>;
    return { image: await apply(image, edit) };
  }
  const encode = FILES[edit.name] as Apply<Edit, Uint8Array>;
  const bytes = new Uint8Array(await encode(image, edit));
  const { width, height } = image;
  return { image: await decodeImage(bytes, { maxPixels: width * height, name: edit.name }), bytes };
}

/** Rounds to the nearest byte; gaussianNoise8(), the reference's, truncates, which would darken by half a level. */
function noise(image: RgbImage, { levels, seed }: EditOf<"noise">): RgbImage {
  const n = normals(seed, NOISE_STREAM, image.data.length);
  const byte = (value: number) => Math.min(255, Math.max(0, Math.round(value)));
  return { ...image, data: image.data.map((value, i) => byte(value + levels * n[i])) };
}

/** The random stream of this file. */
const NOISE_STREAM = 0x6e6f6965; // "noie"

/** The kernel reaches over three sigma, as far as the image allows. */
function blur(image: RgbImage, { sigma }: EditOf<"blur">): RgbImage {
  const reach = Math.min(Math.ceil(3 * sigma), Math.min(image.width, image.height) - 1);
  return gaussianBlur8(image, 2 * reach + 1, sigma);
}

function resize(image: RgbImage, { factor, filter = "bicubic" }: EditOf<"resize">): RgbImage {
  const width = Math.max(1, Math.round(image.width * factor));
  const height = Math.max(1, Math.round(image.height * factor));
  return filter === "nearest" ? resizeNearest(image, width, height) : pilResize(image, width, height, filter);
}
