/**
 * Measures how the family decision degrades on processed images, with the seven transforms and strengths of the
 * reference. Members and nonmembers are processed alike; thresholds are those that were fitted to unprocessed images.
 *
 * Source: sprintml/DataProvenanceIAR, scripts/robustness_eval.py.
 */
import { philox } from "../../core/tensor/mod.ts";
import type { FamilyName } from "../../models/family.ts";
import {
  type Augmentation,
  sigmaRange,
  strengthRanges,
  type TransformName,
  transformNames,
} from "../images/augment/mod.ts";
import { type Rules, ruleScore } from "../decision/calibration_file.ts";
import type { Measurements } from "../evidence/evidence.ts";
import type { ImageInput } from "../images/load.ts";
import { groupOf, type Label, mapFamilies, outlierLabel } from "../labels.ts";
import { accuracy, auc, confusionMatrix, precision, recall, tprAtFpr } from "../metrics/mod.ts";
import { chooseFamily } from "../decision/methods.ts";
import type { LabelledImage } from "../images/labelled.ts";

/** An image with the transform to apply. */
export interface AttackedImage extends ImageInput {
  readonly augmentation: Augmentation;
  readonly label: Label;
}

/** The family decision under one attack at one strength. */
export interface RobustnessPoint {
  readonly attack: TransformName;
  readonly strength: number;
  /** Number of images. */
  readonly images: number;
  /** Share of images with the right family, or rightly outlier. */
  readonly familyAccuracy: number | null;
  readonly outlierRecall: number | null;
  readonly outlierPrecision: number | null;
  /** By family: AUC and TPR at 1 % FPR of the deciding signal against all other images; null if one group is empty. */
  readonly separation: Readonly<Record<FamilyName, { readonly auc: number; readonly tpr: number } | null>>;
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
        return { ...image, imageName: `${attack}/${strength}/${image.imageName}`, augmentation };
      })
    )
  );
}

/** Evaluates the family decision under one attack at one strength. */
export function robustnessPoint(
  attack: TransformName,
  strength: number,
  judged: readonly { readonly label: Label; readonly families: Measurements["families"] }[],
  rules: Rules,
): RobustnessPoint {
  const { labels } = rules;
  const actual = judged.map(({ label }) => groupOf(labels, label));
  const matrix = confusionMatrix(
    actual,
    judged.map(({ families }) => chooseFamily(families, rules) ?? outlierLabel),
    [...labels.families, outlierLabel],
  );
  const separate = (family: FamilyName) => {
    const scores = (isMember: boolean) =>
      judged.filter((_, i) => (actual[i] === family) === isMember)
        .map(({ families }) => ruleScore(rules, families, family));
    const members = scores(true), nonmembers = scores(false);
    if (members.length === 0 || nonmembers.length === 0) return null;
    return { auc: auc(members, nonmembers), tpr: tprAtFpr(members, nonmembers, 0.01) };
  };
  return {
    attack,
    strength,
    images: judged.length,
    familyAccuracy: accuracy(matrix),
    outlierRecall: recall(matrix, outlierLabel),
    outlierPrecision: precision(matrix, outlierLabel),
    separation: mapFamilies(labels.families, separate),
  };
}
