/**
 * What likelihood could tell of an image's variant if its tokens or its class were known: the pipeline scores the same
 * images with the tokens that it finds and with the true ones, under the classes that it infers and under the true one.
 * Classifiers of variants are fitted to each of the four alike, on other images.
 */
import { join } from "node:path";
import { fitVariants, type LabelledRow } from "../../attribution/calibration/fit_variants.ts";
import { classifyRow } from "../../attribution/decision/classifiers/variant.ts";
import { featuresOf } from "../../attribution/evidence/features.ts";
import { quantile } from "../../attribution/metrics/mod.ts";
import type { ModelSet } from "../../models/model_set.ts";
import { readDraws } from "./draws.ts";
import { type Found, type Known, type Scored, withScoring } from "./scoring.ts";

/** The four cases, by the names of their rows. */
export const knownCases = {
  nothing: { tokens: false, class: false },
  class: { tokens: false, class: true },
  tokens: { tokens: true, class: false },
  both: { tokens: true, class: true },
} as const satisfies Record<string, Known>;

/** Name of a case. */
export type KnownName = keyof typeof knownCases;

/** What a case says of a family's test images. */
export interface CaseResult {
  /** By picture, the variant that the fitted classifier gives. */
  readonly fitted: Readonly<Record<string, string>>;
  /** By picture, the variant of the highest guided log-probability, which needs no fit. */
  readonly likeliest: Readonly<Record<string, string>>;
  /** Median lead of the own variant over the next in guided log-probability, in nats per token. */
  readonly margin: number;
  /** By variant, nats per token of its own images: median, 5th and 95th percentile; given the class, and guided. */
  readonly nats: Readonly<Record<string, Readonly<Record<"conditional" | "guided", readonly number[]>>>>;
}

/** The results of a family. */
export interface LikelihoodFigures {
  readonly family: string;
  /** Numbers of images: judged, and of those that classifiers were fitted to. */
  readonly images: { readonly test: number; readonly fit: number };
  /** By picture of a judged image, its variant. */
  readonly truth: Readonly<Record<string, string>>;
  readonly cases: Readonly<Record<KnownName, CaseResult>>;
}

/** What is measured, and where. */
export interface LikelihoodOptions {
  readonly set: ModelSet;
  readonly family: string;
  /** Folder with the draws of the dataset's splits. */
  readonly draws: string;
  /** Images of each variant: judged, and to fit to. */
  readonly each: number;
  readonly fit: number;
  readonly threads?: number;
  readonly log: (line: string) => void;
}

/** Scores a family's images in all four cases. */
export async function likelihoodFigures(options: LikelihoodOptions): Promise<LikelihoodFigures> {
  const { set, family, draws, each, fit, log } = options;
  const test = await readDraws(set, family, join(draws, "test"), each);
  const others = await readDraws(set, family, join(draws, "train"), fit);
  const cases: Partial<Record<KnownName, CaseResult>> = {};
  const found: Found = new Map();
  await withScoring({ ...options, found }, async (score) => {
    for (const [name, known] of Object.entries(knownCases) as [KnownName, Known][]) {
      const scored = await score([...test, ...others], known);
      cases[name] = caseResult(scored.slice(0, test.length), scored.slice(test.length), set.variants(family));
      log(`${family}, known: ${name}: a lead of ${cases[name].margin.toFixed(3)} nats per token`);
    }
  });
  return {
    family,
    images: { test: test.length, fit: others.length },
    truth: Object.fromEntries(test.map(({ picture, variant }) => [picture, variant])),
    cases: cases as Record<KnownName, CaseResult>,
  };
}

/** The feature that variants are compared by without a fit: that of the variant's own sampler. */
const compared = (variant: string) => `${variant}.own.guided.mean`;

/** What scores say of test images, with a classifier that is fitted to those of others. */
export function caseResult(
  test: readonly Scored[],
  others: readonly Scored[],
  variants: readonly string[],
): CaseResult {
  const rows = (scored: readonly Scored[]) =>
    scored.map(({ image: { variant }, line }): LabelledRow => ({ label: variant, row: featuresOf(line) }));
  const testRows = rows(test), { classifier } = fitVariants(rows(others), variants);
  const best = (scores: (variant: string) => number) => variants.reduce((a, b) => scores(b) > scores(a) ? b : a);
  const byPicture = (of: (row: LabelledRow["row"]) => string) =>
    Object.fromEntries(test.map(({ image }, i) => [image.picture, of(testRows[i].row)]));
  const margins = testRows.map(({ label, row }) =>
    row[compared(label)] - Math.max(...variants.flatMap((other) => other === label ? [] : [row[compared(other)]]))
  );
  return {
    fitted: byPicture((row) => {
      const scores = classifyRow(classifier, row);
      return best((variant) => scores[variant]);
    }),
    likeliest: byPicture((row) => best((variant) => row[compared(variant)])),
    margin: quantile(margins, 0.5),
    nats: Object.fromEntries(variants.map((variant) => {
      const own = testRows.filter(({ label }) => label === variant);
      const spread = (name: string) => {
        const values = own.map(({ row }) => -row[name]);
        return [0.5, 0.05, 0.95].map((q) => quantile(values, q));
      };
      return [variant, { conditional: spread(`${variant}.conditional.mean`), guided: spread(compared(variant)) }];
    })),
  };
}
