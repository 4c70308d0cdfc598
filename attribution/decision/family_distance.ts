/**
 * The score `oneClass`: how far an image's signals under all tokenizers lie from those of a family's own images. It needs no
 * outliers to fit; thresholds on it are fitted like those on single signals (calibration/thresholds.ts).
 */
import * as v from "npm:valibot@1.5.0";
import type { FamilyName } from "../../models/family.ts";
import { fitOneClass, type OneClass, oneClassDistance } from "./classifiers/one_class.ts";
import type { Measurements } from "../evidence/evidence.ts";
import { type ScoreName, scoreOf, type SignalName, toScale } from "../signals/table.ts";

/** Measured of every image; `combined` is left out, being the sum of two of them in logarithms. */
const inputs = ["quantLoss", "quantErrorTail", "encLoss", "encLossUncalibrated"] as const satisfies SignalName[];

const numbers = v.pipe(v.array(v.number()), v.readonly());
const deviations = v.pipe(v.array(v.pipe(v.number(), v.gtValue(0, "a number above 0"))), v.readonly());
/** As it is stored in a calibration file. */
export const oneClassSchema = v.strictObject({
  mean: numbers,
  deviation: deviations,
  shrinkage: v.number(),
  factor: v.pipe(v.array(numbers), v.readonly()),
});

/** Logarithms of the inputs, the family's own first: those of other tokenizers say how difficult an image is anyway. */
function row(families: Measurements["families"], family: FamilyName): number[] {
  return [family, ...Object.keys(families).filter((name) => name !== family)]
    .flatMap((name) => inputs.map((input) => toScale(input, scoreOf(input, families[name]))));
}

/** Fits to images of one family, at least two. */
export function fitFamilyDistance(images: readonly Measurements["families"][], family: FamilyName): OneClass {
  return fitOneClass(images.map((families) => row(families, family)));
}

/** The score of an image for a family: a signal's, or `oneClass`, for which the fitted model is needed. */
export function familyScore(
  name: ScoreName,
  families: Measurements["families"],
  family: FamilyName,
  model: OneClass | undefined,
): number {
  if (name !== "oneClass") return scoreOf(name, families[family]);
  if (model === undefined) {
    throw new Error(`oneClass: was not fitted for ${family}: calibrate first (deno task calibrate)`);
  }
  return oneClassDistance(model, row(families, family));
}
