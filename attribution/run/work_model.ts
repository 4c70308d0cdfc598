/**
 * What the work on an image costs, stage by stage, from the configurations of networks and the settings of a run alone.
 * Progress, plans and the sizes of passes rest on it. Operations are those of models/flops.ts; optimised quantisation,
 * which takes a few percent of the tokenizers' time, is not counted.
 */
import type { FamilyName, VariantFacts } from "../../models/family.ts";
import type { ModelSet } from "../../models/model_set.ts";
import type { ConditionName } from "../evidence/evidence.ts";
import {
  coarseRounds,
  defaultInference,
  inferenceCost,
  inferenceOf,
  type InferenceRound,
  inferenceRounds,
  type InferenceSettings,
} from "../likelihood/class_inference.ts";
import { candidateLimit, type SearchLevel } from "../search/candidates.ts";
import type { SignalLevel } from "../signals/table.ts";
import type { WorkPart } from "./run_plan.ts";
import { classesStage, posedStage, searchStage, tokenizerStage, variantStage } from "./work_stages.ts";

/** A stage of the work on an image. */
export interface StageCost {
  readonly stage: string;
  /** What it belongs to, for reports. */
  readonly part: WorkPart;
  /** Which networks run: their rates differ. */
  readonly kind: "tokenizer" | "transformer";
  /** Operations per image. */
  readonly flops: number;
  /** Share of the images that need it, 0 to 1, as long as no image has told. */
  readonly share: number;
  /** The stage that decides whether an image needs it; undefined where each image tells by itself. */
  readonly after?: string;
  /** A stage of the same passes, whose time stands for this one's until it has run. */
  readonly like?: string;
}

/** What is measured, as far as it has a cost. */
export interface CostedWork {
  readonly signals: SignalLevel;
  /** Undefined where no transformer runs. */
  readonly condition?: ConditionName;
  readonly inference?: InferenceSettings;
  /** How thoroughly images are searched; undefined for not at all. */
  readonly search?: SearchLevel;
  /** How many families of an image are scored by their variants, as a share of all families. Default 1. */
  readonly openShare?: number;
}

/** Encoder and decoder passes by level of signals. The baselines' gradient descent is as three passes of the decoder. */
const tokenizerPasses: Readonly<Record<SignalLevel, { encode: number; decode: number }>> = {
  core: { encode: 2, decode: 2 },
  all: { encode: 3, decode: 4 },
  baselines: { encode: 3, decode: 4 + 3 * 100 },
};

/** Share of the images that are searched, and of those of which a pose is found, until images have told. */
const usual = { searched: 0.3, found: 0.3 };

/** The stages of the work on an image, in their order. */
export function stageCosts(set: Pick<ModelSet, "families" | "variants" | "tokenizerFacts" | "variantFacts">, {
  signals,
  condition,
  inference = defaultInference,
  search,
  openShare = 1,
}: CostedWork): StageCost[] {
  const { encode, decode } = tokenizerPasses[signals];
  // An image is judged at one size; until images have told, each size as often as another.
  const sizeShare = 1 / new Set(set.families.map((family) => set.tokenizerFacts(family).imageSize)).size;
  const tokenizers = set.families.map((family): StageCost => {
    const { flops } = set.tokenizerFacts(family);
    const total = encode * flops.encode + decode * flops.decode;
    return { stage: tokenizerStage(family), part: "tokenizers", kind: "tokenizer", flops: total, share: sizeShare };
  });
  const variants = condition === undefined ? [] : variantCosts(set, condition, inference, { openShare, sizeShare });
  const asItIs = [...tokenizers, ...variants];
  if (search === undefined) return asItIs;
  // Encoder and decoder once for each candidate, and its best ones again where pixels are filled in.
  const perCandidate = sizeShare * set.families.reduce((sum, family) => {
    const { flops } = set.tokenizerFacts(family);
    return sum + flops.encode + flops.decode;
  }, 0);
  const share = usual.searched;
  const trying: StageCost = {
    ...{ stage: searchStage, part: "search", kind: "tokenizer", flops: candidateLimit[search] * perCandidate, share },
  };
  const posed = asItIs.map((cost): StageCost => ({
    ...{ ...cost, stage: posedStage(cost.stage), part: "search", like: cost.stage, after: searchStage },
    share: share * usual.found * cost.share,
  }));
  return [...asItIs, trying, ...posed];
}

function variantCosts(
  set: Pick<ModelSet, "families" | "variants" | "variantFacts">,
  condition: ConditionName,
  inference: InferenceSettings,
  { openShare, sizeShare }: { readonly openShare: number; readonly sizeShare: number },
): StageCost[] {
  const share = openShare * sizeShare, count = set.families.length;
  // Of the images that a family has to score, those that the others, one of which is the lead, have not.
  const isAlone = count === 1 ? 0 : Math.min(1, count * (1 - openShare) / (count - 1));
  const isScaled = (family: FamilyName) => firstOf(set, family).patchNums.length > 1;
  const lead = inference.candidates === 0
    ? undefined
    : set.families.find((family) => set.variants(family).length > 0 && isScaled(family));
  return set.families.flatMap((family) => {
    const names = set.variants(family);
    const scored = names.map((name): StageCost => {
      const { flops } = set.variantFacts(name);
      // Without a class, and under each of the classes, which share no condition in the worst case.
      const classes = condition === "none" ? 0 : condition === "given" ? 1 : inferenceOf(inference, family).top;
      const total = flops.pass() + classes * (flops.condition() + flops.pass());
      return { stage: variantStage(name), part: "likelihoods", kind: "transformer", flops: total, share };
    });
    if (condition !== "infer" || names.length === 0) return scored;
    const facts = firstOf(set, family), settings = inferenceOf(inference, family);
    const start = lead === undefined || lead === family || isScaled(family)
      ? undefined
      : coarseSearch(firstOf(set, lead), inferenceOf(inference, lead));
    const flops = roundsFlops(facts, startedRounds(facts, settings, start?.cost)) + isAlone * (start?.flops ?? 0);
    return [{ stage: classesStage(names[0]), part: "classes", kind: "transformer", flops, share }, ...scored];
  });
}

function firstOf(set: Pick<ModelSet, "variants" | "variantFacts">, family: FamilyName): VariantFacts {
  return set.variantFacts(set.variants(family)[0]);
}

/** The rounds of a search, where that of another family has taken `spent` passes to find candidates for it. */
function startedRounds(facts: VariantFacts, settings: InferenceSettings, spent?: number): InferenceRound[] {
  if (spent === undefined) return inferenceRounds(facts, settings);
  const classes = Math.min(settings.candidates, facts.classes);
  return inferenceRounds({ ...facts, classes }, { ...settings, budget: Math.max(1, settings.budget - spent) });
}

/** The part of a search that other families start from. Undefined where there is none. */
function coarseSearch(facts: VariantFacts, settings: InferenceSettings): { cost: number; flops: number } | undefined {
  const rounds = coarseRounds(facts, inferenceRounds(facts, settings));
  return rounds && { cost: inferenceCost(facts, rounds), flops: roundsFlops(facts, rounds) };
}

function roundsFlops({ flops }: VariantFacts, rounds: readonly InferenceRound[]): number {
  return rounds.reduce((sum, { tokens, classes }) => sum + classes * (flops.condition(tokens) + flops.pass(tokens)), 0);
}
