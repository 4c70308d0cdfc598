/**
 * How verdicts degrade on processed images, with the seven transforms and strengths of the reference. Members and
 * nonmembers are processed alike. processing.ts does the same with what happens to images in the world.
 *
 * Source: sprintml/DataProvenanceIAR, scripts/robustness_eval.py.
 */
import { philox } from "../../core/tensor/mod.ts";
import {
  type Augmentation,
  sigmaRange,
  strengthRanges,
  type TransformName,
  transformNames,
} from "../images/augment/mod.ts";
import type { ImageInput } from "../images/load.ts";
import type { LabelledImage } from "../images/labelled.ts";
import { type Headline, headline, type HeadlineOptions } from "./headline.ts";
import type { JudgedVerdict } from "./judged.ts";

/** An image with the transform to apply. */
export interface AttackedImage extends ImageInput, LabelledImage {
  readonly imageName: string;
  readonly path: string;
  readonly augmentation: Augmentation;
  /** The image as it was. */
  readonly original: LabelledImage;
}

/** The verdicts under one attack at one strength. */
export interface RobustnessPoint extends Headline {
  readonly attack: TransformName;
  readonly strength: number;
}

/** Titles and units of strengths, for tables and diagrams. */
export const attackTitles: Readonly<Record<TransformName, { readonly title: string; readonly unit: string }>> = {
  noise: { title: "Gaussian noise", unit: "standard deviation (share of the range)" },
  kernel: { title: "Gaussian blur", unit: "kernel (pixels)" },
  jpeg: { title: "JPEG", unit: "quality" },
  brightness: { title: "Brightness", unit: "factor" },
  contrast: { title: "Contrast", unit: "factor" },
  saturation: { title: "Saturation", unit: "factor" },
  resize: { title: "Smaller and back", unit: "ratio" },
};

/** Key of this file's stream of random numbers: "robu". */
const stream = 0x726f6275;

/**
 * Every image with every strength of every attack, attack by attack. Random parameters (noise, and the blur's sigma,
 * uniform in 0.1..2 pixels) depend only on seed, attack and the position of the image.
 */
export function attackedImages(
  images: readonly LabelledImage[],
  seed: number,
  attacks: readonly TransformName[] = transformNames,
): AttackedImage[] {
  const words = new Uint32Array(4);
  return attacks.flatMap((attack) =>
    strengthRanges[attack].flatMap((strength) =>
      images.map((image, i): AttackedImage => {
        philox(seed, stream, transformNames.indexOf(attack) * 2 ** 32 + i, words);
        const [low, high] = sigmaRange;
        const augmentation: Augmentation = attack === "kernel"
          ? { name: attack, strength, sigma: low + (high - low) * (words[0] / 2 ** 32) }
          : attack === "noise"
          ? { name: attack, strength, seed: words[1] * 2 ** 21 + (words[2] >>> 11) }
          : { name: attack, strength };
        return { ...image, imageName: `${attack}/${strength}/${image.imageName}`, augmentation, original: image };
      })
    )
  );
}

/** Evaluates the verdicts under one attack at one strength. */
export function robustnessPoint(
  attack: TransformName,
  strength: number,
  verdicts: readonly JudgedVerdict[],
  options: HeadlineOptions,
): RobustnessPoint {
  return { attack, strength, ...headline(verdicts, options) };
}
