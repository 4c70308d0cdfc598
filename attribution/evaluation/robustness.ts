/**
 * What becomes of the family decision when images are processed first: the seven transforms of the reference over its ranges
 * of strength. Members and nonmembers are transformed alike; thresholds stay those that were fitted to untouched images.
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

/** An image to be transformed. */
export interface AttackedImage extends ImageInput {
  readonly augmentation: Augmentation;
  readonly label: Label;
}

export interface RobustnessPoint {
  readonly attack: TransformName;
  readonly strength: number;
  readonly images: number;
  /** Of the transformed images: their family, or outlier. */
  readonly familyAccuracy: number | null;
  readonly outlierRecall: number | null;
  readonly outlierPrecision: number | null;
  /** Of the signal that decides for the family, against everything else; null without members or without others. */
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

/** A stream of random numbers for this file alone: "robu". */
const stream = 0x726f6275;

/**
 * Every image under every attack and strength, attack by attack. What a transform draws (the blur's sigma, uniform in
 * 0.1..2 pixels, and noise) depends on the seed, the attack and the image's place alone. `attacks` limits which.
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

/** The numbers of one attack at one strength. */
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
    const own = scores(true), others = scores(false);
    return own.length === 0 || others.length === 0 ? null : { auc: auc(own, others), tpr: tprAtFpr(own, others, 0.01) };
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
