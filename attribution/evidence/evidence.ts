/**
 * What is known about one image, as it is written to evidence.jsonl: the schema of a line, its units and its types.
 * How evidence is gathered is in run/pipeline.ts, what follows from it in decision/methods.ts.
 */
import * as v from "npm:valibot@1.5.0";
import { quantizerNames } from "../quantisation/quantizers.ts";
import { type FamilyEvidence, familyEvidenceSchema } from "../signals/family_evidence.ts";
import { signalLevels } from "../signals/table.ts";

const nonNegative = v.pipe(v.number(), v.minValue(0));
const probability = v.pipe(v.number(), v.minValue(0), v.maxValue(1));
const sha256 = v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/));

/** Likelihood of the image's tokens under one variant, given the image's classes where there are any; see likelihood/. */
export const variantEvidenceSchema = v.object({
  /** Number of tokens. */
  tokens: v.pipe(v.number(), v.integer()),
  /** Mean over the tokens of the conditional log-probability, in nats, at most 0. */
  meanLogProb: v.pipe(v.number(), v.maxValue(0)),
  /** exp(-meanLogProb). */
  perplexity: v.pipe(v.number(), v.minValue(1)),
  /** All numbers about the tokens by name, in the order of likelihood/summaries.ts, and what else was asked for. */
  summaries: v.optional(v.record(v.string(), v.number())),
});

/** Classes that an image may be of, the likeliest first; weights add up to 1. */
export const classEvidenceSchema = v.object({
  top: v.array(v.object({ class: v.pipe(v.number(), v.integer()), weight: probability })),
  /** What finding them cost, in teacher-forced passes of the smallest variants; 0 for given ones. */
  cost: nonNegative,
});

export const conditionNames = ["none", "given", "infer"] as const;
export type ConditionName = (typeof conditionNames)[number];

/** Everything that the numbers depend on beside image and weights. Evidence is reused only where all of it agrees. */
export const settingsSchema = v.object({
  /**
   * Class condition of the likelihoods: `none` is the unconditional one, `given` a class that the user says, `infer` the
   * classes that the likelihood itself finds (likelihood/class_inference.ts).
   */
  condition: v.picklist(conditionNames),
  /** Version of what is said about a variant's tokens. Left out where no variant is run. */
  summaries: v.optional(v.literal("summaries/1")),
  /** How classes are inferred. */
  inference: v.optional(
    v.object({
      ...{ budget: v.number(), top: v.number(), sharpness: v.number(), leastWeight: v.number() },
      candidates: v.number(),
    }),
  ),
  /** Names what is computed from tokens beyond the summaries. */
  extras: v.optional(v.string()),
  /** How tokens of several scales are found (quantisation/quantizers.ts). */
  quantization: v.picklist(quantizerNames),
  /** How much is measured by the tokenizers, and with which encoder (signals/table.ts). */
  signals: v.picklist(signalLevels),
  device: v.picklist(["cpu", "webgpu"]),
  /** Storage type of matrices and convolution kernels. */
  weightType: v.picklist(["f32", "f16"]),
});

/** Numbers alone: what is expensive, and depends on neither thresholds nor method. */
export const measurementsSchema = v.object({
  /** By family, all that the set has. */
  families: v.record(v.string(), familyEvidenceSchema),
  /** By family; only the families that the method asked for, and only where there is a condition. */
  classes: v.optional(v.record(v.string(), classEvidenceSchema)),
  /** By label; only the variants that the method asked for. */
  variants: v.record(v.string(), variantEvidenceSchema),
});

export const verdictSchema = v.object({
  /** A variant of the set, or `outlier`. */
  label: v.string(),
  /** 0 to 1. Not calibrated yet: it orders verdicts, it is no rate of being right. */
  confidence: probability,
  /** Confidence below the user's limit. The label stays the best one. */
  unsure: v.boolean(),
  method: v.string(),
  /** The family decided for, null for an outlier. */
  family: v.nullable(v.string()),
  /** Probabilities of the variants given the family, by label; empty for an outlier. */
  scores: v.record(v.string(), probability),
});

/** A line about an image that was measured, whether or not anything was decided. */
export const measuredLineSchema = v.object({
  /** Name as in the submission. */
  image: v.string(),
  /** Of the file's bytes; of that and the transform where the image was transformed first (input.ts). */
  sha256,
  /** Of the image as stored, in pixels. */
  width: v.number(),
  height: v.number(),
  /** Hash of the model set (models/manifest.ts, modelSetHash). */
  modelSet: sha256,
  /** Version of the program that wrote the line. Lines of versions before 0.2.0 have none. */
  version: v.optional(v.string()),
  settings: settingsSchema,
  ...measurementsSchema.entries,
  /** Milliseconds per image: reading and decoding, tokenizers, transformers. A batch's time is shared equally. */
  timings: v.object({ read: nonNegative, families: nonNegative, variants: nonNegative }),
});

/** A line about an image with its verdict. */
export const evidenceSchema = v.object({
  ...measuredLineSchema.entries,
  ...verdictSchema.entries,
  /** sha256 of the calibration file, null where the set has none. */
  calibration: v.nullable(sha256),
});

/** A line about an image that could not be read. */
export const unreadableSchema = v.object({
  image: v.string(),
  label: v.literal("unreadable"),
  error: v.object({ reason: v.string(), message: v.string() }),
});

export type { FamilyEvidence };
export type VariantEvidence = v.InferOutput<typeof variantEvidenceSchema>;
export type ClassEvidence = v.InferOutput<typeof classEvidenceSchema>;
export type Settings = v.InferOutput<typeof settingsSchema>;
export type Measurements = v.InferOutput<typeof measurementsSchema>;
export type Verdict = v.InferOutput<typeof verdictSchema>;
export type MeasuredLine = v.InferOutput<typeof measuredLineSchema>;
export type Evidence = v.InferOutput<typeof evidenceSchema>;
export type Unreadable = v.InferOutput<typeof unreadableSchema>;

/** One line of evidence.jsonl. */
export type EvidenceLine = Evidence | Unreadable;

/** One line of a run that decides nothing. */
export type MeasurementLine = MeasuredLine | Unreadable;

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
