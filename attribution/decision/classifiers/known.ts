/**
 * Whether one of the known variants of a family drew an image's tokens, or another transformer on the same tokenizer
 * (as HMAR's is on VAR's), given that the image fits the tokenizer. A variant's own images have typical likelihoods
 * under it, and exceed those under the other variants by typical margins; a stranger's do not.
 *
 * No stranger's images are needed to fit it: the images of each variant are a stranger's to the other variants
 * (calibration/fit_known.ts).
 */
import { type FeatureRow, pickColumns } from "../../evidence/features.ts";
import { type OneClass, oneClassDistance } from "./one_class.ts";
import { calibratedRatio, type LogRatio, ratioScore, type Scale } from "./log_ratio.ts";

/** Summaries under the likeliest variant that are compared with those of its own images. */
export const knownFeatures = [
  "own.guided.mean",
  "own.guided.lowest20",
  "difference.mean",
  "own.support.rate",
  "own.rank.logMean",
  "conditional.mean",
] as const;

/** Summaries under every variant whose pattern is compared, with the guided means of scales. */
const patternFeatures = [
  ...["own.guided.mean", "conditional.mean", "unconditional.mean", "own.rank.logMean", "own.guided.lowest20"],
];

/** The numbers of an image under the given variants, variant by variant. */
export function patternNumbers(variants: readonly string[], row: FeatureRow): number[] {
  return variants.flatMap((name) => {
    const numbers = pickColumns(row, patternFeatures.map((feature) => `${name}.${feature}`), "known variants");
    for (let scale = 1;; scale++) {
      const value = row[`${name}.own.scale${scale}.guided`];
      if (value === undefined) return numbers;
      numbers.push(value);
    }
  });
}

/** What is typical of one variant's own images. */
export interface VariantTypical {
  /** Of `knownFeatures` under the variant. */
  readonly features: Scale;
  /** By other variant: of the guided mean under this variant minus that under the other. */
  readonly margins: Readonly<Record<string, { readonly mean: number; readonly deviation: number }>>;
  /** Distance of the numbers of `patternNumbers` under all variants from those of the variant's own images. */
  readonly pattern: OneClass;
}

/** The fitted model of a family. */
export interface KnownModel {
  /** By variant. */
  readonly variants: Readonly<Record<string, VariantTypical>>;
  /** A known variant against a stranger. */
  readonly ratio: LogRatio;
}

/**
 * The numbers that the ratio is computed from, for an image whose likeliest variant is `best`: its standardised
 * features under it, the least and the mean of its standardised margins (0 without other variants), and ln of the
 * distance of its pattern.
 */
export function knownNumbers(
  typical: KnownModel["variants"],
  best: string,
  row: FeatureRow,
): number[] {
  const { features, margins, pattern } = typical[best], variants = Object.keys(typical);
  const values = pickColumns(row, knownFeatures.map((name) => `${best}.${name}`), "known variants");
  const own = row[`${best}.own.guided.mean`];
  const others = variants.filter((name) => name !== best).map((name) => {
    const { mean, deviation } = margins[name];
    return (own - pickColumns(row, [`${name}.own.guided.mean`], "known variants")[0] - mean) / deviation;
  });
  const z = values.map((value, j) => (value - features.mean[j]) / features.deviation[j]);
  const least = others.length === 0 ? 0 : Math.min(...others);
  const middle = others.length === 0 ? 0 : others.reduce((a, b) => a + b) / others.length;
  const distance = oneClassDistance(pattern, patternNumbers(variants, row));
  return [...z, least, middle, Math.log(Math.max(distance, 1e-12))];
}

/**
 * ln of the likelihood ratio of a known variant against a stranger. `best` is the likeliest variant, `kind` that of the
 * image's history.
 */
export function knownRatio({ variants, ratio }: KnownModel, best: string, row: FeatureRow, kind: string): number {
  return calibratedRatio(ratio, ratioScore(ratio, knownNumbers(variants, best, row)), kind);
}
