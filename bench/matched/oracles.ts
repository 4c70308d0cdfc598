/** What labels would be if tokens, classes or families were known that no program knows. */
import type { Estimate } from "../../attribution/evaluation/evaluate.ts";
import { outlierLabel } from "../../attribution/labels.ts";
import { clusteredRate } from "../../attribution/metrics/mod.ts";
import { knownCases, type KnownName, type LikelihoodFigures } from "./likelihoods.ts";

/** A test image and what was decided. */
export interface TestVerdict {
  /** As the table of labels has it; of a generated image variant, seed and number. */
  readonly picture: string;
  readonly label: string;
  /** The family of the label; null for an outlier. */
  readonly family: string | null;
  /** What was decided: the family of the verdict, null for outlier, and the probability of outlier. */
  readonly decided: string | null;
  readonly outlier: number;
}

/** A row of the table: what is known, and how often sizes and labels would be right. */
export interface OracleRow {
  readonly title: string;
  /** Family by family: with the fitted classifier, and by the highest likelihood. */
  readonly sizes: readonly { readonly fitted: Estimate; readonly likeliest: Estimate }[];
  /** All labels, with the families that were decided; null without verdicts. */
  readonly labels: Estimate | null;
  /** All labels, if the family of every image and which are outliers were known. */
  readonly familiesKnown: Estimate | null;
}

const titles: Readonly<Record<KnownName, string>> = {
  nothing: "nothing",
  class: "true class",
  tokens: "true tokens",
  both: "true tokens and class",
};

/** A row for each of the four cases, over the images that were both scored and judged. */
export function oracleRows(
  likelihoods: readonly LikelihoodFigures[],
  verdicts: readonly TestVerdict[] | undefined,
): OracleRow[] {
  return (Object.keys(knownCases) as KnownName[]).map((name) => {
    const fitted: Record<string, string> = Object.assign({}, ...likelihoods.map(({ cases }) => cases[name].fitted));
    // Outliers have no tokens of a model; generated images that were not scored are left out.
    const judged = verdicts?.filter(({ picture, family }) => family === null || picture in fitted);
    const labels = (groupOf: (verdict: TestVerdict) => string | null) =>
      judged === undefined ? null : rate(
        judged.map((verdict) => {
          const { picture, label, family } = verdict;
          return groupOf(verdict) === family && (family === null || fitted[picture] === label);
        }),
        judged.map(({ picture, label }) => `${label} ${picture}`),
      );
    return {
      title: titles[name],
      sizes: likelihoods.map(({ truth, cases }) => ({
        fitted: found(truth, cases[name].fitted),
        likeliest: found(truth, cases[name].likeliest),
      })),
      labels: labels(({ decided }) => decided),
      familiesKnown: labels(({ family }) => family),
    };
  });
}

/** How often the variants that were said are the true ones. */
export function found(truth: Readonly<Record<string, string>>, said: Readonly<Record<string, string>>): Estimate {
  const pictures = Object.keys(truth);
  return rate(pictures.map((picture) => said[picture] === truth[picture]), pictures);
}

function rate(hits: readonly boolean[], clusters: readonly string[]): Estimate {
  return clusteredRate(hits, clusters) ?? { value: null, interval: null };
}

/**
 * The largest share of the outliers that a limit on the outlier's probability finds, of those limits for which at least
 * `precision` of the images beyond it are outliers; 0 where none is. Null without outliers.
 */
export function recallAtPrecision(verdicts: readonly TestVerdict[], precision: number): number | null {
  const sorted = verdicts.toSorted((a, b) => b.outlier - a.outlier);
  const all = sorted.filter(({ label }) => label === outlierLabel).length;
  if (all === 0) return null;
  let hits = 0, best = 0;
  sorted.forEach(({ label, outlier }, i) => {
    if (label === outlierLabel) hits++;
    // A limit cannot part images of one probability.
    if (outlier !== sorted[i + 1]?.outlier && hits / (i + 1) >= precision) best = Math.max(best, hits / all);
  });
  return best;
}
