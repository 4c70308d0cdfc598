/**
 * From probabilities to a finding: which of them are enough to name a model, and what is said where none is named.
 * classifiers/joint.ts has the probabilities, evidence/words.ts the sentences.
 */
import type { FamilyName } from "../../models/family.ts";
import { mainKind } from "./classifiers/history.ts";
import type { Finding, Measurements, SearchEvidence, Verdict } from "../evidence/evidence.ts";
import {
  displacedReason,
  hiddenReason,
  missedReason,
  poseReason,
  supportReason,
  unknownModelReason,
  unsettledReason,
  unsuitableReason,
} from "../evidence/words.ts";
import { featuresOf } from "../evidence/features.ts";
import { measuredPoses } from "../evidence/poses.ts";
import { describeFacts } from "../images/facts/describe.ts";
import type { ImageFacts } from "../images/facts/facts.ts";
import { type Label, type Labels, outlierLabel } from "../labels.ts";
import {
  defaultOutlierPrior,
  type JointModel,
  largest,
  type Posed,
  posterior,
  readFeatures,
} from "./classifiers/joint.ts";
import { missRateOf, type MissTable } from "./classifiers/miss_table.ts";

/**
 * What a decision is made from.
 *
 * @example
 * ```ts
 * import { type Decidable } from "@model-tracer/model-tracer";
 *
 * const wasSearched = ({ search }: Decidable) => search !== undefined;
 * console.log(wasSearched({ families: {}, variants: {} }));
 * ```
 */
export interface Decidable extends Measurements {
  /** What can be seen of the image's history. */
  readonly facts?: ImageFacts;
  /** What was measured in other poses. */
  readonly search?: SearchEvidence;
  /** Of the image as stored, in pixels. */
  readonly width?: number;
  /** As `width`. */
  readonly height?: number;
}

/** A model is named where the probability of no trace is at most this. */
const mostDoubt = 0.1;
/** The label is a model's name where the probability of an outlier is at most this: a wrong name is worse than none. */
const mostOutlier = 0.3;
/** One model of a family is named where its probability, given the family, is at least this. */
const leastShare = 0.75;
/** `none` is said where at most this share of generated images, processed alike, is missed; else `inconclusive`. */
const mostMissed = 0.1;

/**
 * Images whose size or border makes it less likely than this that they are as a model made them were cropped or lie
 * within a canvas. The search misses the place of some, which no miss rate has counted.
 */
const leastAsItIs = 0.15;
/**
 * The share of such generated images whose place the search misses: of 480 that were cropped or put into canvases, 32,
 * and more after other processing.
 */
const missedPlaces = 0.08;

/** The verdict of `joint` before its confidence is calibrated: `raw` is the probability of the label. */
export type JointDecision =
  & Pick<Verdict, "label" | "family" | "scores" | "finding" | "reasons" | "log10LikelihoodRatio" | "missRate" | "pose">
  & { readonly raw: number };

/**
 * The readings of an image as it is and in the poses that were measured, weighed by their prior probabilities. An image
 * that was not searched has one pose.
 */
export function posesOf(model: JointModel, evidence: Decidable): readonly Posed[] {
  const kind = mainKind(evidence.facts), poses = measuredPoses(evidence);
  return poses.map(({ logPrior, measured }) => ({
    weight: poses.length === 1 ? 1 : Math.exp(logPrior),
    readings: readFeatures(model, featuresOf(measured), kind),
  }));
}

/** Decides by the readings of an image. `evidence` needs no more than the image's facts, size and poses. */
export function decideJoint(
  poses: readonly Posed[],
  evidence: Pick<Decidable, "facts" | "search" | "width" | "height">,
  misses: MissTable | undefined,
  outlierPrior = defaultOutlierPrior,
): JointDecision {
  const { facts } = evidence;
  const size = { width: evidence.width ?? 0, height: evidence.height ?? 0 };
  const after = posterior(poses, outlierPrior);
  const found = settle(after, poses);
  const { finding, label, family } = found;
  const log10LikelihoodRatio = after.lnRatio / Math.LN10;
  const pose = after.pose === 0 ? undefined : evidence.search?.poses[after.pose - 1].pose;
  const missRate = finding === "none" ? missRateOf(misses, facts) : undefined;
  const isDisplaced = finding === "none" && evidence.search !== undefined &&
    evidence.search.logPriorAsItIs < Math.log(leastAsItIs);
  const isHidden = missRate !== undefined && missRate > mostMissed;
  const reasons = [
    ...found.reasons,
    ...isHidden && facts !== undefined ? [hiddenReason(describeFacts(facts))] : [],
    ...isDisplaced ? [displacedReason] : missRate === undefined ? [] : [missedReason(missRate)],
    ...pose !== undefined && family !== null ? [poseReason(pose, size)] : [],
    supportReason(found.best, log10LikelihoodRatio),
  ];
  return {
    label,
    family,
    finding: isHidden || isDisplaced ? "inconclusive" : finding,
    scores: found.scores,
    // However little is found in a displaced image, it may be one whose place was missed.
    raw: isDisplaced
      ? Math.min(found.scores[label], outlierPrior / (outlierPrior + (1 - outlierPrior) * missedPlaces))
      : found.scores[label],
    reasons,
    log10LikelihoodRatio,
    ...missRate !== undefined && !isDisplaced && { missRate },
    ...pose !== undefined && family !== null && { pose },
  };
}

/**
 * The verdict about an image of which nothing can be measured. It has the probabilities before all evidence, of the
 * variants of the families that judge it.
 */
export function decideUnsuitable(
  { facts, width = 0, height = 0 }: Pick<Decidable, "facts" | "width" | "height">,
  families: readonly FamilyName[],
  { labels, outlierPrior = defaultOutlierPrior }: { readonly labels: Labels; readonly outlierPrior?: number },
): Omit<JointDecision, "raw"> & { readonly confidence: number } {
  const variants = families.flatMap((family) => labels.variants[family]);
  const share = (1 - outlierPrior) / variants.length;
  return {
    ...{ label: outlierLabel, family: null, finding: "unsuitable", confidence: outlierPrior },
    scores: Object.fromEntries([...variants.map((name) => [name, share]), [outlierLabel, outlierPrior]]),
    reasons: [unsuitableReason(facts!.unsuitable!, { width, height })],
    log10LikelihoodRatio: 0,
  };
}

/** What the probabilities are enough for. */
function settle(after: ReturnType<typeof posterior>, poses: readonly Posed[]): {
  readonly finding: Finding;
  readonly label: Label;
  readonly family: string | null;
  readonly best: Label;
  readonly scores: Readonly<Record<Label, number>>;
  readonly reasons: string[];
} {
  const { [outlierLabel]: nothing, ...variants } = after.scores;
  const stranger = largest(after.strangers);
  const strangers = Object.values(after.strangers).reduce((a, b) => a + b);
  const scores = { ...variants, [outlierLabel]: nothing + strangers };
  const best = largest(variants);
  const label = scores[outlierLabel] > mostOutlier ? outlierLabel : best;
  const base = { best, scores };
  if (nothing > mostOutlier) return { ...base, label, family: null, finding: "none", reasons: [] };
  if (label === outlierLabel) {
    return { ...base, label, family: stranger, finding: "family", reasons: [unknownModelReason(stranger)] };
  }
  const readings = poses[after.pose].readings;
  const family = Object.keys(readings).find((name) => best in readings[name].variants)!;
  if (nothing > mostDoubt) {
    return {
      ...base,
      label,
      family: null,
      finding: "inconclusive",
      reasons: ["Its traces of a model are too weak to name one."],
    };
  }
  const ranked = Object.keys(readings[family].variants).sort((a, b) => variants[b] - variants[a]);
  const share = (name: Label) => variants[name] / (1 - nothing);
  if (share(best) >= leastShare) return { ...base, label, family, finding: "variant", reasons: [] };
  const second = ranked[1];
  const reasons = after.strangers[family] > (second === undefined ? 0 : variants[second])
    ? [unknownModelReason(family)]
    : [unsettledReason({ label: best, share: share(best) }, { label: second, share: share(second) })];
  return { ...base, label, family, finding: "family", reasons };
}
