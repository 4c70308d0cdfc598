/**
 * The part of a calibration file that stores classifiers, and the settings that they were fitted under. variant.ts,
 * joint.ts, prada.ts and confidence.ts apply them; calibration_file.ts checks that they fit a run.
 */
import * as v from "npm:valibot@1.5.0";
import { type ConditionName, conditionNames, findings, type Settings } from "../../evidence/evidence.ts";
import { settingsSchema } from "../../evidence/schemas.ts";
import { oneClassSchema } from "../family_distance.ts";
import { leastSlope, type Stretches } from "./confidence.ts";
import type { JointModel } from "./joint.ts";
import type { MissTable } from "./miss_table.ts";
import type { NamedClassifier, OwnSamples } from "./variant.ts";

/** A score function of PRADA. */
export interface PradaFunction {
  /** Tokens per scale; null where all tokens weigh alike. */
  readonly scaleLengths: number[] | null;
  /** By the reference's names. */
  readonly parameters: Readonly<Record<string, number[]>>;
}

/** What methods beyond thresholds and perplexity decide by. */
export interface Classifiers {
  /** Version of the summaries that the classifiers were fitted to. */
  readonly summaries?: string;
  /** Class condition of the likelihoods that the classifiers were fitted to. */
  readonly condition: ConditionName;
  /** How classes were inferred, with the condition `infer`. */
  readonly inference?: Settings["inference"];
  /** What the method `own-sample` decides by. */
  readonly ownSamples: OwnSamples;
  /** What `joint` decides by, and its classifiers of variants `two-stage`. */
  readonly joint: JointModel;
  /** By family, what the method `membership` decides by. */
  readonly membership?: Readonly<Record<string, NamedClassifier>>;
  /** By variant, what the method `prada` decides by. */
  readonly prada?: Readonly<Record<string, PradaFunction>>;
  /** How often `joint` finds nothing in generated images, by what happened to them. */
  readonly misses?: MissTable;
  /** By method: how raw confidences become rates of being right. */
  readonly confidence: Readonly<Record<string, Stretches>>;
  /** Verdicts of `joint` below this confidence are marked `unsure` by default. */
  readonly unsureBelow?: number;
}

const positive = v.pipe(v.number(), v.gtValue(0, "a number above 0"));
const numbers = v.pipe(v.array(v.number()), v.readonly());
const positives = v.pipe(v.array(positive), v.readonly());
const matrix = v.pipe(v.array(numbers), v.readonly());
const strings = v.pipe(v.array(v.string()), v.readonly());
const logistic = { mean: numbers, deviation: positives, weights: matrix, intercepts: numbers };

/** Checks a `NamedClassifier`. */
export const namedClassifierSchema: v.GenericSchema<unknown, NamedClassifier> = v.strictObject({
  labels: strings,
  columns: strings,
  ...logistic,
  l2: positive,
  temperature: positive,
});

const scale = v.strictObject({ mean: numbers, deviation: positives });
const line = v.strictObject({ slope: positive, offset: v.number() });
const ratio = v.strictObject({
  typical: scale,
  regression: v.strictObject(logistic),
  calibration: line,
  kinds: v.record(v.string(), line),
  bound: positive,
});
const margin = v.strictObject({ mean: v.number(), deviation: positive });

const familyModel = v.strictObject({
  variants: namedClassifierSchema,
  tokens: v.record(v.string(), scale),
  signals: ratio,
  trace: ratio,
  known: v.optional(v.strictObject({
    variants: v.record(
      v.string(),
      v.strictObject({ features: scale, margins: v.record(v.string(), margin), pattern: oneClassSchema }),
    ),
    ratio,
  })),
});

/** Checks a `JointModel`. */
export const jointSchema: v.GenericSchema<unknown, JointModel> = v.strictObject({
  families: v.record(v.string(), familyModel),
});

/** Checks a `PradaFunction`. */
export const pradaFunctionSchema: v.GenericSchema<unknown, PradaFunction> = v.strictObject({
  scaleLengths: v.nullable(v.array(v.number())),
  parameters: v.record(v.string(), v.array(v.number())),
});

const slope = v.pipe(
  v.number(),
  v.minValue(leastSlope, `${leastSlope} or more: a flat map makes every confidence the same`),
);
const stretch = v.strictObject({ slope, offset: v.number() });
const count = v.pipe(v.number(), v.integer(), v.minValue(0));

/** Checks `Classifiers`. */
export const classifiersSchema: v.GenericSchema<unknown, Classifiers> = v.strictObject({
  summaries: v.optional(v.string()),
  condition: v.picklist(conditionNames),
  inference: settingsSchema.entries.inference,
  ownSamples: v.record(v.string(), v.strictObject({ mean: v.number(), deviation: positive })),
  joint: jointSchema,
  membership: v.optional(v.record(v.string(), namedClassifierSchema)),
  prada: v.optional(v.record(v.string(), pradaFunctionSchema)),
  misses: v.optional(v.record(v.string(), v.strictObject({ images: count, missed: count }))),
  confidence: v.record(v.string(), v.record(v.picklist(findings), stretch)),
  unsureBelow: v.optional(v.pipe(v.number(), v.minValue(0), v.maxValue(1))),
});
