/** Which images are searched for poses: those of which no model is named as they are. */
import type { Decidable } from "./finding.ts";
import { outlierLabel } from "../labels.ts";
import { evidenceMethod, type MethodName, methodOf, type Rules } from "./methods.ts";

/** An image whose probability of being an outlier is above this is searched, even if it gets a model's name. */
const doubtful = 0.3;

/** Whether an image should be searched, by what was measured of it as it is: unless a model is named without doubt. */
export function needsSearch(method: MethodName, measured: Decidable, rules: Rules): boolean {
  if (method === evidenceMethod || measured.facts?.unsuitable !== undefined) return false;
  const { label, scores, finding = "variant" } = methodOf(method).decide(measured, rules);
  return label === outlierLabel || finding !== "variant" || (scores[outlierLabel] ?? 0) > doubtful;
}
