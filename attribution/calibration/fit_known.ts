/** Fits whether a known variant or a stranger drew an image's tokens. decision/classifiers/known.ts explains the model. */
import { knownFeatures, type KnownModel, knownNumbers } from "../decision/classifiers/known.ts";
import { largest } from "../decision/classifiers/joint.ts";
import { pickColumns } from "../evidence/features.ts";
import type { Label } from "../labels.ts";
import { meanAndDeviation } from "../metrics/mod.ts";
import { fitScale, leastDeviation, type RatioRow } from "./fit_log_ratio.ts";
import type { LabelledRow } from "./fit_variants.ts";

/** What is typical of each variant's images, of which there are two or more. */
export function fitTypical(rows: readonly LabelledRow[], variants: readonly Label[]): KnownModel["variants"] {
  return Object.fromEntries(variants.map((name) => {
    const own = rows.filter(({ label }) => label === name).map(({ row }) => row);
    const features = fitScale(
      own.map((row) => pickColumns(row, knownFeatures.map((feature) => `${name}.${feature}`), "known variants")),
    );
    const margins = Object.fromEntries(
      variants.filter((other) => other !== name).map((other) => {
        const { mean, deviation } = meanAndDeviation(
          own.map((row) => row[`${name}.guided.mean`] - row[`${other}.guided.mean`]),
        );
        return [other, { mean, deviation: Math.max(deviation, leastDeviation) }];
      }),
    );
    return [name, { features, margins }];
  }));
}

/**
 * Numbers of one image as one of a known variant, then as a stranger's: without its own variant, it is one to the others.
 * `probabilities` are those of all variants.
 */
export function knownRows(
  { label, row }: LabelledRow,
  typical: KnownModel["variants"],
  probabilities: Readonly<Record<Label, number>>,
): RatioRow[] {
  const all = Object.keys(typical);
  const known = knownNumbers(typical, largest(probabilities), all, row);
  const others = all.filter((name) => name !== label);
  const best = largest(Object.fromEntries(others.map((name) => [name, probabilities[name]])));
  return [
    { numbers: known, first: true, weight: 1 },
    { numbers: knownNumbers(typical, best, others, row), first: false, weight: 1 },
  ];
}
