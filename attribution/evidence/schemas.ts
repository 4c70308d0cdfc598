/** Reads lines of evidence.jsonl (evidence.ts), and the schemas that check them. */
import * as v from "npm:valibot@1.5.0";
import { imageFactsSchema } from "../images/facts/facts.ts";
import { poseSchema } from "../images/pose.ts";
import { quantizerNames } from "../quantisation/quantizers.ts";
import { familyEvidenceSchema } from "../signals/family_evidence.ts";
import { signalLevels } from "../signals/table.ts";
import {
  conditionNames,
  type Evidence,
  type EvidenceLine,
  findings,
  type MeasuredLine,
  type MeasurementLine,
  type SearchEvidence,
  type Settings,
  summariesVersion,
  type Unreadable,
} from "./evidence.ts";

const nonNegative = v.pipe(v.number(), v.minValue(0));
const probability = v.pipe(v.number(), v.minValue(0), v.maxValue(1));
const sha256 = v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/));
const time = v.pipe(v.string(), v.isoTimestamp());

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
  summaries: v.optional(v.literal(summariesVersion)),
  inference: v.optional(
    v.object({
      ...{ budget: v.number(), top: v.number(), sharpness: v.number(), leastWeight: v.number() },
      candidates: v.number(),
      families: v.optional(v.record(v.string(), v.object({ budget: v.number(), top: v.number() }))),
    }),
  ),
  extras: v.optional(v.string()),
  quantization: v.picklist(quantizerNames),
  signals: v.picklist(signalLevels),
  latents: v.optional(v.string()),
  device: v.picklist(["cpu", "webgpu"]),
  weightType: v.picklist(["f32", "f16"]),
}) satisfies v.GenericSchema<unknown, Settings>;

const measurementsSchema = v.object({
  families: v.record(v.string(), familyEvidenceSchema),
  classes: v.optional(v.record(v.string(), classEvidenceSchema)),
  variants: v.record(v.string(), variantEvidenceSchema),
});

const verdictSchema = v.object({
  finding: v.optional(v.picklist(findings), "none"),
  label: v.string(),
  confidence: probability,
  unsure: v.boolean(),
  method: v.string(),
  family: v.nullable(v.string()),
  scores: v.record(v.string(), probability),
  reasons: v.optional(v.array(v.string()), []),
  log10LikelihoodRatio: v.optional(v.number()),
  missRate: v.optional(probability),
  pose: v.optional(poseSchema),
});

const logProbability = v.pipe(v.number(), v.maxValue(0));

const searchSchema = v.object({
  level: v.picklist(["quick", "full"]),
  tried: v.pipe(v.number(), v.integer(), v.minValue(0)),
  logPriorAsItIs: logProbability,
  poses: v.array(v.object({
    pose: poseSchema,
    logPrior: logProbability,
    family: v.string(),
    contrast: nonNegative,
    ...measurementsSchema.entries,
  })),
}) satisfies v.GenericSchema<unknown, SearchEvidence>;

const measuredLineSchema = v.object({
  image: v.string(),
  sha256,
  width: v.number(),
  height: v.number(),
  notes: v.optional(v.array(v.string())),
  facts: v.optional(imageFactsSchema),
  search: v.optional(searchSchema),
  modelSet: sha256,
  version: v.optional(v.string()),
  commit: v.optional(v.string()),
  settings: settingsSchema,
  ...measurementsSchema.entries,
  timings: v.object({
    read: nonNegative,
    families: nonNegative,
    variants: nonNegative,
    search: v.optional(nonNegative),
  }),
}) satisfies v.GenericSchema<unknown, MeasuredLine>;

/** Checks `Evidence`. */
export const evidenceSchema = v.object({
  ...measuredLineSchema.entries,
  ...verdictSchema.entries,
  calibration: v.nullable(sha256),
  judged: v.optional(time),
}) satisfies v.GenericSchema<unknown, Evidence>;

const unreadableSchema = v.object({
  image: v.string(),
  label: v.literal("unreadable"),
  error: v.object({ reason: v.string(), message: v.string() }),
  modelSet: v.optional(sha256),
  version: v.optional(v.string()),
  commit: v.optional(v.string()),
  settings: v.optional(settingsSchema),
  calibration: v.optional(v.nullable(sha256)),
  judged: v.optional(time),
}) satisfies v.GenericSchema<unknown, Unreadable>;

/** Reads a line. Undefined for one that is incomplete or does not fit the schema. */
export function parseEvidence(text: string): EvidenceLine | undefined {
  return parseLine(v.union([unreadableSchema, evidenceSchema]), text);
}

/** Reads the measurements of a line, with or without a verdict. Undefined as for `parseEvidence`. */
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
