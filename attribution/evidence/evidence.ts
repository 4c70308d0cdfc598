/**
 * A line of evidence.jsonl: what was measured of one image and what was decided. Types and units; schemas.ts checks
 * lines. run/pipeline.ts gathers evidence, decision/methods.ts decides from it.
 */
import type { ImageFacts } from "../images/facts/facts.ts";
import type { Pose } from "../images/pose.ts";
import type { FamilyName } from "../../models/family.ts";
import type { SearchLevel } from "../search/candidates.ts";
import type { QuantizerName } from "../quantisation/quantizers.ts";
import type { FamilyEvidence } from "../signals/family_evidence.ts";
import type { SignalLevel } from "../signals/table.ts";

export type { FamilyEvidence };

/** Likelihood of an image's tokens under one variant, given the image's classes unless the condition is `none`. */
export interface VariantEvidence {
  /** Number of tokens. */
  readonly tokens: number;
  /** Mean over the tokens of the conditional log-probability, in nats, at most 0. */
  readonly meanLogProb: number;
  /** exp(-meanLogProb). */
  readonly perplexity: number;
  /** Summaries of the token scores by name (likelihood/summaries.ts), then the extras that the method asked for. */
  readonly summaries?: Readonly<Record<string, number>>;
}

/** The likely classes of an image. */
export interface ClassEvidence {
  /** The likeliest first. Weights add up to 1. */
  readonly top: { readonly class: number; readonly weight: number }[];
  /** Cost of the inference in teacher-forced passes of the smallest variant; 0 for given classes. */
  readonly cost: number;
}

/**
 * Class condition of the likelihoods: `none` scores without a class, `given` under the class that the user gives,
 * `infer` under classes that are inferred by likelihood (likelihood/class_inference.ts).
 */
export type ConditionName = "none" | "given" | "infer";

/** All conditions. */
export const conditionNames: readonly ConditionName[] = ["none", "given", "infer"];

/** Version of the summaries of likelihoods. From 2 on, they average over settings of the samplers; from 3 on, `own.` ones do not. */
export const summariesVersion: NonNullable<Settings["summaries"]> = "summaries/3";

/**
 * Everything that the numbers depend on besides image and weights. Cached evidence is reused only if all of it agrees.
 */
export interface Settings {
  /** Class condition of the likelihoods. */
  readonly condition: ConditionName;
  /** Version of the summaries. Absent if no variant was run. */
  readonly summaries?: "summaries/3";
  /** How classes were inferred, see `InferenceSettings`. Only with the condition `infer`. */
  readonly inference?: {
    readonly budget: number;
    readonly top: number;
    readonly sharpness: number;
    readonly leastWeight: number;
    readonly candidates: number;
    readonly families?: Readonly<Record<string, { readonly budget: number; readonly top: number }>>;
  };
  /** Names and versions of the extras, see `ExtraScores`. */
  readonly extras?: string;
  /** How the tokens of tokenizers with several scales were found. */
  readonly quantization: QuantizerName;
  /** Which signals were measured, and with which encoder. */
  readonly signals: SignalLevel;
  /** Identifies the latent statistics that the calibration supplied where an encoder's file has none. */
  readonly latents?: string;
  /** The kind of device. Its rounding affects the numbers. */
  readonly device: "cpu" | "webgpu";
  /** Precision of matrices and convolution kernels: `f32` as their files have them, `f16` rounded. */
  readonly weightType: "f32" | "f16";
}

/** What was measured of an image. It is expensive to compute, and does not depend on thresholds. */
export interface Measurements {
  /** Signals by family, for all families of the set that judge the image: those for images of its size. */
  readonly families: Readonly<Record<string, FamilyEvidence>>;
  /** Classes by family, for the families that the method asked for. Absent with the condition `none`. */
  readonly classes?: Readonly<Record<string, ClassEvidence>>;
  /** Likelihoods by variant, for the variants that the method asked for. */
  readonly variants: Readonly<Record<string, VariantEvidence>>;
}

/**
 * What was found in an image.
 *
 * - `variant`: a model of the set made it, and which one is told
 * - `family`: it fits a family's tokenizer, but no model of the family is settled, or none of those known made it
 * - `none`: no trace of a known model, and it would have been seen
 * - `inconclusive`: no trace, but what happened to this image hides traces
 * - `unsuitable`: nothing to measure: too small, without texture, or too elongated
 */
export type Finding = "variant" | "family" | "none" | "inconclusive" | "unsuitable";

/** All findings. */
export const findings: readonly Finding[] = ["variant", "family", "none", "inconclusive", "unsuitable"];

/** What was tried to find an image mirrored, turned, cropped, rescaled or within a canvas. */
export interface SearchEvidence {
  /** How thorough the search was. */
  readonly level: SearchLevel;
  /** Number of poses that were tried, beside the image as it is. */
  readonly tried: number;
  /** Natural logarithm of the prior probability that the image as it is shows the native image, given its size and borders. */
  readonly logPriorAsItIs: number;
  /** The poses that fit a family better than the others, with what was measured under them, the best first. */
  readonly poses: PoseEvidence[];
}

/** What was measured of an image in a pose. Parts of the frame beside the image were filled in. */
export interface PoseEvidence extends Measurements {
  /** The pose. */
  readonly pose: Pose;
  /**
   * Natural logarithm of the prior probability of the pose; see `SearchEvidence.logPriorAsItIs`. Of a full search,
   * after cheap passes have narrowed the candidates.
   */
  readonly logPrior: number;
  /** The family that the pose fits. */
  readonly family: FamilyName;
  /**
   * By how much the family's tokenizer reproduces the image better than in the median of the other poses, in nats of
   * error x sqrt(QuantLoss), at least 0.
   */
  readonly contrast: number;
}

/** What a method decides about an image. */
export interface Verdict {
  /** What was found; it says more than the label. */
  readonly finding: Finding;
  /** A variant of the set, or `outlier`: the best guess, for tables of labels. Empty where nothing was decided. */
  readonly label: string;
  /**
   * 0 to 1: how often such verdicts are right, if the calibration was fitted for it; otherwise it only orders verdicts.
   */
  readonly confidence: number;
  /** Whether the confidence is below the user's limit. The label stays the best one. */
  readonly unsure: boolean;
  /** Name of the method. */
  readonly method: string;
  /** The family of the label, null for an outlier. */
  readonly family: string | null;
  /**
   * Probabilities by label: of all labels, or of the family's variants given the family, depending on the method. Empty
   * if the method gives none.
   */
  readonly scores: Readonly<Record<string, number>>;
  /** Why, in sentences for people. */
  readonly reasons: string[];
  /**
   * Likelihood ratio of the likeliest model against outlier, as log10: above 0 speaks for the model. It does not depend
   * on the expected share of outliers. Absent if the method gives none.
   */
  readonly log10LikelihoodRatio?: number;
  /**
   * Share of generated images, processed like this one, in which nothing is found. Absent where it is not known.
   */
  readonly missRate?: number;
  /** The pose in which the image was found, where it is not the image as it is. */
  readonly pose?: Pose;
}

/** A line about an image that was measured, with or without a verdict. */
export interface MeasuredLine extends Measurements {
  /** Name as in the submission. */
  readonly image: string;
  /** Hash of the file's bytes. If the image was transformed first, hash of bytes and transform (images/load.ts). */
  readonly sha256: string;
  /** Of the image as stored, in pixels. */
  readonly width: number;
  /** Of the image as stored, in pixels. */
  readonly height: number;
  /**
   * What is odd about the file: flaws that no pixel depends on, and what is not applied to the pixels, such as an EXIF
   * orientation, transparency or further frames. Absent for most files.
   */
  readonly notes?: string[];
  /** What can be seen of the image's history. Lines of versions before 0.2.0 have none. */
  readonly facts?: ImageFacts;
  /** What was measured in other poses. Absent if the image was not searched. */
  readonly search?: SearchEvidence;
  /** Hash of the model set. */
  readonly modelSet: string;
  /** Version of the program that wrote the line. Lines of versions before 0.2.0 have none. */
  readonly version?: string;
  /** Commit of that program, if it ran from a repository that it may read. */
  readonly commit?: string;
  /** How it was measured. */
  readonly settings: Settings;
  /**
   * Milliseconds for reading and decoding (some images at a time, so that waiting for others counts), tokenizers,
   * transformers and, if the image was searched, the search with all of these for its poses. The time of a batch is
   * shared equally.
   */
  readonly timings: {
    readonly read: number;
    readonly families: number;
    readonly variants: number;
    readonly search?: number;
  };
}

/**
 * A line about an image with its verdict.
 *
 * @example
 * ```ts
 * import { type Evidence } from "@model-tracer/model-tracer";
 *
 * function describe({ image, finding, label, confidence, reasons }: Evidence): string {
 *   return `${image}: ${finding}, best label ${label} (${confidence}). ${reasons.join(" ")}`;
 * }
 * console.log(describe.length);
 * ```
 */
export interface Evidence extends MeasuredLine, Verdict {
  /** sha256 of the calibration file, null where the set has none. */
  readonly calibration: string | null;
  /** When the image was judged, ISO 8601 in UTC. Measurements may be older. Lines of versions before 0.2.0 have none. */
  readonly judged?: string;
}

/**
 * A line about an image that could not be read.
 *
 * @example
 * ```ts
 * import { type Unreadable } from "@model-tracer/model-tracer";
 *
 * const line: Unreadable = { image: "a.png", label: "unreadable", error: { reason: "empty", message: "0 bytes" } };
 * console.log(line.error.message);
 * ```
 */
export interface Unreadable {
  /** Name as in the submission. */
  readonly image: string;
  /** Instead of a label of the set. */
  readonly label: "unreadable";
  /** A stable name of the reason, and a message for people. */
  readonly error: { readonly reason: string; readonly message: string };
  /** Hash of the model set. Absent in lines of versions before 0.2.0, as all below. */
  readonly modelSet?: string;
  /** Version of the program that wrote the line. */
  readonly version?: string;
  /** Commit of that program, if it ran from a repository that it may read. */
  readonly commit?: string;
  /** How the image would have been measured. */
  readonly settings?: Settings;
  /** sha256 of the calibration file, null where the set has none. Absent in runs that only measure. */
  readonly calibration?: string | null;
  /** When it was found to be unreadable, ISO 8601 in UTC. Absent in runs that only measure. */
  readonly judged?: string;
}

/**
 * One line of evidence.jsonl.
 *
 * @example
 * ```ts
 * import { type EvidenceLine, isUnreadable } from "@model-tracer/model-tracer";
 *
 * const confidence = (line: EvidenceLine) => isUnreadable(line) ? undefined : line.confidence;
 * console.log(confidence({ image: "a.png", label: "unreadable", error: { reason: "empty", message: "0 bytes" } }));
 * ```
 */
export type EvidenceLine = Evidence | Unreadable;

/** One line of a run that only measures. */
export type MeasurementLine = MeasuredLine | Unreadable;

/**
 * Whether a line is about an image that could not be read.
 *
 * @example
 * ```ts
 * import { isUnreadable, Tracer } from "@model-tracer/model-tracer";
 *
 * await using tracer = await Tracer.open({ device: "cpu" });
 * for await (const line of tracer.attribute([new Blob(["no image"])])) {
 *   console.log(isUnreadable(line) ? line.error.message : line.finding);
 * }
 * ```
 */
export function isUnreadable(line: MeasurementLine): line is Unreadable {
  return "label" in line && line.label === "unreadable";
}
