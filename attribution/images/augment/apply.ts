// Applies a transform by name. A table has every transform in two forms, for float images and for bytes.

import type { RgbImage } from "../image.ts";
import { brightness, brightness8, contrast, contrast8, saturation, saturation8 } from "./blend.ts";
import { gaussianBlur, gaussianBlur8 } from "./blur.ts";
import type { FloatImage } from "./float_image.ts";
import { jpeg, jpeg8 } from "./jpeg.ts";
import { gaussianNoise, gaussianNoise8 } from "./noise.ts";
import { resizeAndBack, resizeAndBack8 } from "./resize.ts";
import type { Augmentation, TransformName } from "./schedule.ts";

interface Transform<A> {
  readonly float: (image: FloatImage, augmentation: A) => FloatImage | Promise<FloatImage>;
  readonly bytes: (image: RgbImage, augmentation: A) => RgbImage | Promise<RgbImage>;
}

const TRANSFORMS: { readonly [Name in TransformName]: Transform<Extract<Augmentation, { name: Name }>> } = {
  noise: {
    float: (image, { strength, seed }) => gaussianNoise(image, strength, seed),
    bytes: (image, { strength, seed }) => gaussianNoise8(image, strength, seed),
  },
  kernel: {
    float: (image, { strength, sigma }) => gaussianBlur(image, strength, sigma),
    bytes: (image, { strength, sigma }) => gaussianBlur8(image, strength, sigma),
  },
  jpeg: {
    float: (image, { strength }) => jpeg(image, strength),
    bytes: (image, { strength }) => jpeg8(image, strength),
  },
  brightness: {
    float: (image, { strength }) => brightness(image, strength),
    bytes: (image, { strength }) => brightness8(image, strength),
  },
  contrast: {
    float: (image, { strength }) => contrast(image, strength),
    bytes: (image, { strength }) => contrast8(image, strength),
  },
  saturation: {
    float: (image, { strength }) => saturation(image, strength),
    bytes: (image, { strength }) => saturation8(image, strength),
  },
  resize: {
    float: (image, { strength }) => resizeAndBack(image, strength),
    bytes: (image, { strength }) => resizeAndBack8(image, strength),
  },
};

/**
 * Applies a transform to values in [0, 1]. Size and range stay the same; null returns the image. This is `apply_attack`
 * of the reference, which training uses.
 */
export async function augment(image: FloatImage, augmentation: Augmentation | null): Promise<FloatImage> {
  if (augmentation === null) return image;
  const { float } = TRANSFORMS[augmentation.name] as Transform<Augmentation>;
  return await float(image, augmentation);
}

/**
 * Applies a transform to bytes. The size stays the same; null returns the image. This is `apply_attack_pil` of the
 * reference, which evaluation of robustness uses. Results differ from those of augment() by more than rounding.
 */
export async function augment8(image: RgbImage, augmentation: Augmentation | null): Promise<RgbImage> {
  if (augmentation === null) return image;
  const { bytes } = TRANSFORMS[augmentation.name] as Transform<Augmentation>;
  return await bytes(image, augmentation);
}
