/**
 * The score `oneClass`: how far an image's signals under all tokenizers lie from those of a family's own images.
 * Thresholds apply to it as to single signals. calibration/fit_one_class.ts fits it; no outliers are needed.
 */
import * as v from "npm:valibot@1.5.0";
import type { FamilyName } from "../../models/family.ts";
import { CalibrationError } from "../../util/errors.ts";
import { type OneClass, oneClassDistance } from "./classifiers/one_class.ts";
import type { Measurements } from "../evidence/evidence.ts";
import { type ScoreName, scoreOf, type SignalName, toScale } from "../signals/table.ts";

/**
 * The signals that distances are computed from; every image has them. `combined` is left out: its logarithm is the sum
 * of two of them.
 */
export const distanceSignals = [
  "quantLoss",
  "quantErrorTail",
  "encLoss",
  "encLossUncalibrated",
] as const satisfies SignalName[];

const numbers = v.pipe(v.array(v.number()), v.readonly());
const deviations = v.pipe(v.array(v.pipe(v.number(), v.gtValue(0, "a number above 0"))), v.readonly());
/** Checks a `OneClass` of a calibration file. */
export const oneClassSchema: v.GenericSchema<unknown, OneClass> = v.strictObject({
  mean: numbers,
  deviation: deviations,
  shrinkage: v.number(),
  factor: v.pipe(v.array(numbers), v.readonly()),
});

/** The families with one of them first. */
export function familyFirst(name: FamilyName, families: readonly FamilyName[]): readonly FamilyName[] {
  return [name, ...families.filter((other) => other !== name)];
}

/**
 * What the distance of a family is computed from: the logarithms of the signals under every tokenizer, the family's own
 * first. Those of other tokenizers tell how difficult the image is for any tokenizer.
 */
export function signalRow(families: Measurements["families"], family: FamilyName): number[] {
  return familyFirst(family, Object.keys(families))
    .flatMap((name) => distanceSignals.map((signal) => toScale(signal, scoreOf(signal, families[name]))));
}

/** An image's score for a family: a signal, or `oneClass`, which needs the fitted model. Throws a CalibrationError without it. */
export function familyScore(
  name: ScoreName,
  families: Measurements["families"],
  family: FamilyName,
  model: OneClass | undefined,
): number {
  if (name !== "oneClass") return scoreOf(name, families[family]);
  if (model === undefined) {
    throw new CalibrationError(`oneClass: was not fitted for ${family}: calibrate first (deno task calibrate)`);
  }
  return oneClassDistance(model, signalRow(families, family));
}
