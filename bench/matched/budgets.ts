/**
 * What sizes lose where classes are inferred with fewer passes, and fewer of them are kept, as `calibrate --budget` makes
 * it: the same images at several budgets, with classifiers of variants fitted at each of them alike, on other images.
 */
import { join } from "node:path";
import { defaultInference, type InferenceSettings } from "../../attribution/likelihood/class_inference.ts";
import { stageCosts } from "../../attribution/run/work_model.ts";
import { expectedFlops } from "../../attribution/run/run_plan.ts";
import { caseResult, knownCases, type KnownName, type LikelihoodOptions } from "./likelihoods.ts";
import { readDraws } from "./draws.ts";
import { type Found, type Scored, withScoring } from "./scoring.ts";

/** Passes, and classes that are kept. */
export type Budget = Pick<InferenceSettings, "budget" | "top">;

/** What is compared, from thorough to cheap; rungs of `inferenceLadder`. */
export const comparedBudgets: readonly Budget[] = [
  { budget: 40, top: 5 },
  { budget: 20, top: 3 },
  { budget: 15, top: 2 },
  { budget: 10, top: 1 },
];

/** Where found tokens say nothing of a family's sizes, budgets are compared on true ones. */
export const knownForBudgets: Readonly<Record<string, KnownName>> = { var: "tokens" };

/** What a budget says of a family's test images. */
export interface BudgetResult extends Budget {
  /** Operations per image of the transformers, as plans count them. */
  readonly flops: number;
  /** Share of the images with the true class among those that were kept, and at their head. */
  readonly kept: number;
  readonly first: number;
  /** By picture, the variant that the fitted classifier gives. */
  readonly fitted: Readonly<Record<string, string>>;
  /** Median lead of the own variant over the next in guided log-probability, in nats per token. */
  readonly margin: number;
}

/** The results of a family. */
export interface BudgetFigures {
  readonly family: string;
  /** What is known of the images: `tokens` for a family whose found tokens say nothing of its sizes. */
  readonly known: KnownName;
  readonly images: { readonly test: number; readonly fit: number };
  /** By picture of a judged image, its variant. */
  readonly truth: Readonly<Record<string, string>>;
  /** Number of the set's classes. */
  readonly classes: number;
  /** From thorough to cheap. */
  readonly budgets: readonly BudgetResult[];
}

/** Scores a family's images at all budgets, the cheapest first. */
export async function budgetFigures(
  { known, budgets: compared, ...options }: LikelihoodOptions & {
    readonly known: KnownName;
    readonly budgets: readonly Budget[];
  },
): Promise<BudgetFigures> {
  const { set, family, draws, each, fit, log } = options;
  const test = await readDraws(set, family, join(draws, "test"), each);
  const others = await readDraws(set, family, join(draws, "train"), fit), all = [...test, ...others];
  const found: Found = new Map(), budgets: BudgetResult[] = [];
  for (const settings of compared.toReversed()) {
    const inference = { ...defaultInference, ...settings };
    await withScoring({ ...options, found, inference }, async (score) => {
      if (found.size === 0 && known !== "nothing") await score(all, knownCases.nothing);
      const scored = await score(all, knownCases[known]);
      const judged = scored.slice(0, test.length);
      const { fitted, margin } = caseResult(judged, scored.slice(test.length), set.variants(family));
      const flops = transformerFlops(options, inference);
      budgets.unshift({ ...settings, flops, ...classesFound(judged, family), fitted, margin });
      log(
        `${family}, ${settings.budget} passes, ${settings.top} classes: a lead of ${margin.toFixed(3)} nats per token`,
      );
    });
  }
  return {
    ...{ family, known, budgets, images: { test: test.length, fit: others.length } },
    truth: Object.fromEntries(test.map(({ picture, variant }) => [picture, variant])),
    classes: set.variantFacts(set.variants(family)[0]).classes,
  };
}

/** How often the true class is found. */
function classesFound(scored: readonly Scored[], family: string): Pick<BudgetResult, "kept" | "first"> {
  const ranks = scored.map(({ image, line }) =>
    line.classes?.[family]?.top.findIndex((inferred) => inferred.class === image.class) ?? -1
  );
  const share = (holds: (rank: number) => boolean) => ranks.filter(holds).length / ranks.length;
  return { kept: share((rank) => rank >= 0), first: share((rank) => rank === 0) };
}

/** Operations of a family's transformers for an image. */
function transformerFlops(
  { set, family }: Pick<LikelihoodOptions, "set" | "family">,
  inference: InferenceSettings,
): number {
  const alone = {
    families: [family],
    variants: (name: string) => set.variants(name),
    tokenizerFacts: (name: string) => set.tokenizerFacts(name),
    variantFacts: (name: string) => set.variantFacts(name),
  };
  const costs = stageCosts(alone, { signals: "core", condition: "infer", inference });
  return expectedFlops(costs.filter(({ kind }) => kind === "transformer"));
}
