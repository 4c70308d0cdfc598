/**
 * What is known about one image, as it is written to evidence.jsonl: the types of a line, its units, and schemas that check it.
 * How evidence is gathered is in run/pipeline.ts, what follows from it in decision/methods.ts.
 */
import * as v from "npm:valibot@1.5.0";
import { type QuantizerName, quantizerNames } from "../quantisation/quantizers.ts";
import { type FamilyEvidence, familyEvidenceSchema } from "../signals/family_evidence.ts";
import { type SignalLevel, signalLevels } from "../signals/table.ts";

export type { FamilyEvidence };

/** Likelihood of the image's tokens under one variant, given the image's classes where there are any; see likelihood/. */
export interface VariantEvidence {
  /** Number of tokens. */
  readonly tokens: number;
  /** Mean over the tokens of the conditional log-probability, in nats, at most 0. */
  readonly meanLogProb: number;
  /** exp(-meanLogProb). */
  readonly perplexity: number;
  /** All numbers about the tokens by name, in the order of likelihood/summaries.ts, and what else was asked for. */
  readonly summaries?: Readonly<Record<string, number>>;
}

/** Classes that an image may be of. */
export interface ClassEvidence {
  /** The likeliest first; weights add up to 1. */
  readonly top: { readonly class: number; readonly weight: number }[];
  /** What finding them cost, in teacher-forced passes of the smallest variants; 0 for given ones. */
  readonly cost: number;
}

/**
 * Class condition of likelihoods: `none` is the unconditional one, `given` a class that the user says, `infer` the classes
 * that the likelihood itself finds (likelihood/class_inference.ts).
 */
export type ConditionName = "none" | "given" | "infer";

/** All of them. */
export const conditionNames: readonly ConditionName[] = ["none", "given", "infer"];

/** Everything that the numbers depend on beside image and weights. Evidence is reused only where all of it agrees. */
export interface Settings {
  /** Class condition of the likelihoods. */
  readonly condition: ConditionName;
  /** Version of what is said about a variant's tokens. Left out where no variant is run. */
  readonly summaries?: "summaries/1";
  /** How classes are inferred; see `InferenceSettings`. */
  readonly inference?: {
    readonly budget: number;
    readonly top: number;
    readonly sharpness: number;
    readonly leastWeight: number;
    readonly candidates: number;
  };
  /** Names what is computed from tokens beyond the summaries. */
  readonly extras?: string;
  /** How tokens of several scales are found. */
  readonly quantization: QuantizerName;
  /** How much is measured by the tokenizers, and with which encoder. */
  readonly signals: SignalLevel;
  /** Which device computes: its rounding is in the numbers. */
  readonly device: "cpu" | "webgpu";
  /** Storage type of matrices and convolution kernels. */
  readonly weightType: "f32" | "f16";
}

/** Numbers alone: what is expensive, and depends on neither thresholds nor method. */
export interface Measurements {
  /** By family, all that the set has. */
  readonly families: Readonly<Record<string, FamilyEvidence>>;
  /** By family; only the families that the method asked for, and only where there is a condition. */
  readonly classes?: Readonly<Record<string, ClassEvidence>>;
  /** By label; only the variants that the method asked for. */
  readonly variants: Readonly<Record<string, VariantEvidence>>;
}

/** What a method decides about an image. */
export interface Verdict {
  /** A variant of the set, or `outlier`. */
  readonly label: string;
  /** 0 to 1: how often such verdicts are right where calibration measured that, else a number that orders verdicts. */
  readonly confidence: number;
  /** Confidence below the user's limit. The label stays the best one. */
  readonly unsure: boolean;
  /** Name of the method. */
  readonly method: string;
  /** The family decided for, null for an outlier. */
  readonly family: string | null;
  /** By label: probabilities of the variants given the family, or of all labels; empty where a method gives none. */
  readonly scores: Readonly<Record<string, number>>;
}

/** A line about an image that was measured, whether or not anything was decided. */
export interface MeasuredLine extends Measurements {
  /** Name as in the submission. */
  readonly image: string;
  /** Of the file's bytes; of those and the transform where the image was transformed first (images/load.ts). */
  readonly sha256: string;
  /** Of the image as stored, in pixels. */
  readonly width: number;
  /** Of the image as stored, in pixels. */
  readonly height: number;
  /** Hash of the model set. */
  readonly modelSet: string;
  /** Version of the program that wrote the line. Lines of versions before 0.2.0 have none. */
  readonly version?: string;
  /** How it was measured. */
  readonly settings: Settings;
  /** Milliseconds per image: reading and decoding, tokenizers, transformers. A batch's time is shared equally. */
  readonly timings: { readonly read: number; readonly families: number; readonly variants: number };
}

/** A line about an image with its verdict. */
export interface Evidence extends MeasuredLine, Verdict {
  /** sha256 of the calibration file, null where the set has none. */
  readonly calibration: string | null;
}

/** A line about an image that could not be read. */
export interface Unreadable {
  /** Name as in the submission. */
  readonly image: string;
  /** In place of a verdict's label. */
  readonly label: "unreadable";
  /** A stable name of the reason, and a message that says what is wrong with the file. */
  readonly error: { readonly reason: string; readonly message: string };
}

const nonNegative = v.pipe(v.number(), v.minValue(0));
const probability = v.pipe(v.number(), v.minValue(0), v.maxValue(1));
const sha256 = v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/));

const variantEvidenceSchema = v.object({
  tokens: v.pipe(v.number(), v.integer()),
  meanLogProb: v.pipe(v.number(), v.maxValue(0)),
  perplexity: v.pipe(v.number(), v.minValue(1)),
  summaries: v.optional(v.record(v.string(), v.number())),
});

const classEvidenceSchema = v.object({
  top: v.array(v.object({ class: v.pipe(v.number(), v.integer()), weight: probability })),
  cost: nonNegative,
});

/** Checks `Settings`. */
export const settingsSchema = v.object({
  condition: v.picklist(conditionNames),
  summaries: v.optional(v.literal("summaries/1")),
  inference: v.optional(
    v.object({
      ...{ budget: v.number(), top: v.number(), sharpness: v.number(), leastWeight: v.number() },
      candidates: v.number(),
    }),
  ),
  extras: v.optional(v.string()),
  quantization: v.picklist(quantizerNames),
  signals: v.picklist(signalLevels),
  device: v.picklist(["cpu", "webgpu"]),
  weightType: v.picklist(["f32", "f16"]),
}) satisfies v.GenericSchema<unknown, Settings>;

const measurementsSchema = v.object({
  families: v.record(v.string(), familyEvidenceSchema),
  classes: v.optional(v.record(v.string(), classEvidenceSchema)),
  variants: v.record(v.string(), variantEvidenceSchema),
});

const verdictSchema = v.object({
  label: v.string(),
  confidence: probability,
  unsure: v.boolean(),
  method: v.string(),
  family: v.nullable(v.string()),
  scores: v.record(v.string(), probability),
});

const measuredLineSchema = v.object({
  image: v.string(),
  sha256,
  width: v.number(),
  height: v.number(),
  modelSet: sha256,
  version: v.optional(v.string()),
  settings: settingsSchema,
  ...measurementsSchema.entries,
  timings: v.object({ read: nonNegative, families: nonNegative, variants: nonNegative }),
}) satisfies v.GenericSchema<unknown, MeasuredLine>;

/** Checks `Evidence`. */
export const evidenceSchema = v.object({
  ...measuredLineSchema.entries,
  ...verdictSchema.entries,
  calibration: v.nullable(sha256),
}) satisfies v.GenericSchema<unknown, Evidence>;

const unreadableSchema = v.object({
  image: v.string(),
  label: v.literal("unreadable"),
  error: v.object({ reason: v.string(), message: v.string() }),
}) satisfies v.GenericSchema<unknown, Unreadable>;

/** One line of evidence.jsonl. */
export type EvidenceLine = Evidence | Unreadable;

/** One line of a run that decides nothing. */
export type MeasurementLine = MeasuredLine | Unreadable;

/** Whether a line is about an image that could not be read. */
export function isUnreadable(line: MeasurementLine): line is Unreadable {
  return "label" in line && line.label === "unreadable";
}

/** Reads a line; undefined for one that is torn, or not of this schema. */
export function parseEvidence(text: string): EvidenceLine | undefined {
  return parseLine(v.union([unreadableSchema, evidenceSchema]), text);
}

/** Reads what was measured from a line, whether or not it has a verdict; undefined for one that is torn. */
export function parseMeasurement(text: string): MeasurementLine | undefined {
  return parseLine(v.union([unreadableSchema, measuredLineSchema]), text);
}

function parseLine<T>(schema: v.GenericSchema<unknown, T>, text: string): T | undefined {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return undefined;
  }
  const result = v.safeParse(schema, json);
  return result.success ? result.output : undefined;
}
