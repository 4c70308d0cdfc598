/** Fits whether a known variant or a stranger drew an image's tokens. decision/classifiers/known.ts explains the model. */
import { knownFeatures, type KnownModel, knownNumbers, patternNumbers } from "../decision/classifiers/known.ts";
import { largest } from "../decision/classifiers/joint.ts";
import { pickColumns } from "../evidence/features.ts";
import type { Label } from "../labels.ts";
import { meanAndDeviation } from "../metrics/mod.ts";
import { fitScale, leastDeviation } from "./fit_log_ratio.ts";
import { fitOneClass } from "./fit_one_class.ts";
import type { LabelledRow } from "./fit_variants.ts";

/** What is typical of each variant's images, of which there are two or more. */
function fitTypical(rows: readonly LabelledRow[], variants: readonly Label[]): KnownModel["variants"] {
  return Object.fromEntries(variants.map((name) => {
    const own = rows.filter(({ label }) => label === name).map(({ row }) => row);
    const features = fitScale(
      own.map((row) => pickColumns(row, knownFeatures.map((feature) => `${name}.${feature}`), "known variants")),
    );
    const margins = Object.fromEntries(
      variants.filter((other) => other !== name).map((other) => {
        const { mean, deviation } = meanAndDeviation(
          own.map((row) => row[`${name}.own.guided.mean`] - row[`${other}.own.guided.mean`]),
        );
        return [other, { mean, deviation: Math.max(deviation, leastDeviation) }];
      }),
    );
    return [name, { features, margins, pattern: fitOneClass(own.map((row) => patternNumbers(variants, row))) }];
  }));
}

/** What is typical where all variants are known, and where one is not, by that one. */
export interface Typical {
  readonly all: KnownModel["variants"];
  readonly without: Readonly<Record<Label, KnownModel["variants"]>>;
}

/** Fits what is typical to images of the variants, two or more of each. */
export function fitTypicals(rows: readonly LabelledRow[], variants: readonly Label[]): Typical {
  return {
    all: fitTypical(rows, variants),
    without: Object.fromEntries(variants.map((name) => [name, fitTypical(rows, variants.filter((v) => v !== name))])),
  };
}

/** An image as one that a stranger made: without its variant, it is one to the others. */
export interface AsStranger {
  /** P(variant | family) of the others. */
  readonly probabilities: Readonly<Record<Label, number>>;
  /** See knownNumbers(). */
  readonly numbers: readonly number[];
}

/** Takes an image's variant for unknown. `probabilities` are those of all variants. */
export function asStranger(
  { label, row }: LabelledRow,
  { without }: Typical,
  probabilities: Readonly<Record<Label, number>>,
): AsStranger {
  const others = Object.keys(without[label]);
  const rest = others.reduce((sum, name) => sum + probabilities[name], 1e-12);
  const shares = Object.fromEntries(others.map((name) => [name, probabilities[name] / rest]));
  return { probabilities: shares, numbers: knownNumbers(without[label], largest(shares), row) };
}
