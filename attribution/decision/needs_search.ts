/** Which images are searched for poses: those that would be outliers as they are. */
import type { Decidable } from "./finding.ts";
import { outlierLabel } from "../labels.ts";
import { type MethodName, methodOf, type Rules } from "./methods.ts";

/** An image whose probability of being an outlier is above this is searched, even if it gets a model's name. */
const doubtful = 0.3;

/** Whether an image should be searched, by what was measured of it as it is. */
export function needsSearch(method: MethodName, measured: Decidable, rules: Rules): boolean {
  if (measured.facts?.unsuitable !== undefined) return false;
  const { label, scores } = methodOf(method).decide(measured, rules);
  return label === outlierLabel || (scores[outlierLabel] ?? 0) > doubtful;
}
