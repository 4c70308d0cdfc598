/**
 * What is typical of images that a family or a variant made, so that a number of an image can be read beside it: the range
 * of 19 in 20 of the images that the calibration was fitted to. It decides nothing.
 */
import type { FamilyName } from "../../models/family.ts";
import type { Calibration } from "../decision/calibration_file.ts";
import { knownFeatures } from "../decision/classifiers/known.ts";
import { tokenFeatures } from "../decision/classifiers/joint.ts";
import type { Scale } from "../decision/classifiers/log_ratio.ts";
import { signalsInEvidence, signalWords, summaryWords } from "../evidence/feature_words.ts";
import type { Labels } from "../labels.ts";
import { fromScale } from "../signals/table.ts";

/** A number in words, and the range in which 19 of 20 own images have it. */
export interface Typical {
  readonly title: string;
  readonly meaning: string;
  readonly low: number;
  readonly middle: number;
  readonly high: number;
}

/** By family and signal, and by variant and summary. Empty for a set that is not calibrated. */
export interface TypicalValues {
  readonly families: Readonly<Record<FamilyName, Readonly<Record<string, Typical>>>>;
  readonly variants: Readonly<Record<string, Readonly<Record<string, Typical>>>>;
}

/** Standard deviations from the mean within which 95 % of a normal distribution lie. */
const deviations = 1.96;

/** The typical values that a calibration has. */
export function typicalValues({ data, families, classifiers }: Calibration, labels: Labels): TypicalValues {
  if (data === null) return { families: {}, variants: {} };
  const byFamily = labels.families.map((family) => {
    const rows = signalsInEvidence.flatMap((name) => {
      const fit = families[family][name];
      if (fit === undefined) return [];
      const at = (z: number) => fromScale(name, fit.mean + z * fit.deviation);
      return [[name, { ...signalWords(name), low: at(-deviations), middle: at(0), high: at(deviations) }] as const];
    });
    return [family, Object.fromEntries(rows)] as const;
  });
  const byVariant = labels.families.flatMap((family) => {
    const { known, tokens } = classifiers?.joint.families[family] ?? {};
    return labels.variants[family].flatMap((variant) => {
      const rows = {
        ...tokens?.[variant] && summaryRows(tokenFeatures, tokens[variant]),
        ...known?.variants[variant] && summaryRows(knownFeatures, known.variants[variant].features),
      };
      return Object.keys(rows).length === 0 ? [] : [[variant, rows] as const];
    });
  });
  return { families: Object.fromEntries(byFamily), variants: Object.fromEntries(byVariant) };
}

function summaryRows(names: readonly string[], { mean, deviation }: Scale): Record<string, Typical> {
  return Object.fromEntries(names.map((name, i) => {
    const [least, most] = boundsOf(name);
    const at = (z: number) => Math.min(most, Math.max(least, mean[i] + z * deviation[i]));
    return [name, { ...summaryWords(name), low: at(-deviations), middle: at(0), high: at(deviations) }];
  }));
}

/** The least and the largest value that a summary can have. */
function boundsOf(name: string): readonly [number, number] {
  if (/support/.test(name)) return [0, 1];
  if (/[rR]ank/.test(name)) return [0, Infinity];
  return /^(own\.)?(conditional|unconditional|guided)\./.test(name) ? [-Infinity, 0] : [-Infinity, Infinity];
}
