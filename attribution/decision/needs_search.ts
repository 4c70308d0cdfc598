/** Which images are searched for poses: those that would be outliers as they are. */
import type { Measurements } from "../evidence/evidence.ts";
import { outlierLabel } from "../labels.ts";
import { type MethodName, methodOf, type Rules } from "./methods.ts";

/** An image whose probability of being an outlier is above this is searched, even if it gets a model's name. */
const doubtful = 0.3;

/** Whether an image should be searched, by what was measured of it as it is. */
export function needsSearch(method: MethodName, measured: Measurements, rules: Rules): boolean {
  const { finding, label, scores } = methodOf(method).decide(measured, rules);
  if (finding === "unsuitable") return false;
  return label === outlierLabel || (scores[outlierLabel] ?? 0) > doubtful;
}
