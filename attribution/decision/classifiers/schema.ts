/**
 * Classifiers as a calibration file stores them, and what they were fitted under. Their meaning is in variant.ts, joint.ts
 * and confidence.ts; whether they may be used for a run is decided in calibration.ts.
 */
import * as v from "npm:valibot@1.5.0";
import { type ConditionName, conditionNames, type Settings, settingsSchema } from "../../evidence/evidence.ts";
import { oneClassSchema } from "../family_distance.ts";
import type { JointModel } from "./joint.ts";
import type { NamedClassifier, OwnSamples } from "./variant.ts";

/** A score function of PRADA: parameters by the reference's names. */
export interface PradaFunction {
  readonly scaleLengths: number[] | null;
  readonly parameters: Readonly<Record<string, number[]>>;
}

/** What methods beyond thresholds and perplexity decide by. */
export interface Classifiers {
  /** Class condition of the likelihoods that everything below was fitted to. */
  readonly condition: ConditionName;
  /** How classes were inferred, where they were. */
  readonly inference?: Settings["inference"];
  readonly ownSamples: OwnSamples;
  readonly joint: JointModel;
  readonly membership?: Readonly<Record<string, NamedClassifier>>;
  readonly prada?: Readonly<Record<string, PradaFunction>>;
  /** By method: log-odds of being right are offset + slope x log-odds of the raw confidence. */
  readonly confidence: Readonly<Record<string, { readonly slope: number; readonly offset: number }>>;
}

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

export const pradaFunctionSchema = v.strictObject({
  scaleLengths: v.nullable(v.array(v.number())),
  parameters: v.record(v.string(), v.array(v.number())),
});

export const classifiersSchema = v.strictObject({
  condition: v.picklist(conditionNames),
  inference: settingsSchema.entries.inference,
  ownSamples: v.record(v.string(), v.strictObject({ mean: v.number(), deviation: positive })),
  joint: jointSchema,
  membership: v.optional(v.record(v.string(), namedClassifierSchema)),
  prada: v.optional(v.record(v.string(), pradaFunctionSchema)),
  confidence: v.record(v.string(), v.strictObject({ slope: v.number(), offset: v.number() })),
}) satisfies v.GenericSchema<unknown, Classifiers>;
