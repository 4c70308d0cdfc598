/**
 * Classifiers as a calibration file stores them, and what they were fitted under. Their meaning is in variant.ts, joint.ts
 * and confidence.ts; whether they may be used for a run is decided in calibration.ts.
 */
import * as v from "npm:valibot@1.5.0";
import { conditionNames, settingsSchema } from "../../evidence/evidence.ts";
import { oneClassSchema } from "../family_distance.ts";

const positive = v.pipe(v.number(), v.gtValue(0, "a number above 0"));
const numbers = v.pipe(v.array(v.number()), v.readonly());
const positives = v.pipe(v.array(positive), v.readonly());
const matrix = v.pipe(v.array(numbers), v.readonly());
const strings = v.pipe(v.array(v.string()), v.readonly());
const logistic = { mean: numbers, deviation: positives, weights: matrix, intercepts: numbers };

export const namedClassifierSchema = v.strictObject({
  labels: strings,
  columns: strings,
  ...logistic,
  l2: positive,
  temperature: positive,
});

const familyModel = v.strictObject({
  variants: namedClassifierSchema,
  tokens: v.record(v.string(), v.strictObject({ mean: numbers, deviation: positives })),
  distance: oneClassSchema,
  mean: v.number(),
  deviation: positive,
});

export const jointSchema = v.strictObject({
  families: v.record(v.string(), familyModel),
  family: v.strictObject({ model: v.strictObject(logistic), l2: positive, temperature: positive }),
  range: positive,
});

/** A score function of PRADA: parameters by the reference's names. */
export const pradaFunctionSchema = v.strictObject({
  scaleLengths: v.nullable(v.array(v.number())),
  parameters: v.record(v.string(), v.array(v.number())),
});

export const classifiersSchema = v.strictObject({
  /** Class condition of the likelihoods that everything below was fitted to. */
  condition: v.picklist(conditionNames),
  /** How classes were inferred, where they were. */
  inference: settingsSchema.entries.inference,
  ownSamples: v.record(v.string(), v.strictObject({ mean: v.number(), deviation: positive })),
  joint: jointSchema,
  membership: v.optional(v.record(v.string(), namedClassifierSchema)),
  prada: v.optional(v.record(v.string(), pradaFunctionSchema)),
  /** By method: log-odds of being right are offset + slope x log-odds of the raw confidence. */
  confidence: v.record(v.string(), v.strictObject({ slope: v.number(), offset: v.number() })),
});

export type Classifiers = v.InferOutput<typeof classifiersSchema>;
