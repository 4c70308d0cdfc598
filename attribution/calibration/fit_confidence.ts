/**
 * Fits how raw confidences become rates of being right (Platt 1999), to verdicts whose truth is known.
 * decision/classifiers/confidence.ts applies what is fitted here.
 */
import { logit, noStretch, type Stretch } from "../decision/classifiers/confidence.ts";
import { minimize } from "./lbfgs.ts";

/**
 * Fits the map to raw confidences, 0 to 1, and to whether each verdict was right. Minimises the log-loss against
 * Platt's targets, (hits + 1) / (hits + 2) and 1 / (misses + 2): with 1 and 0, a sample without errors would claim
 * certainty. A penalty on leaving slope 1 weighs as much as one verdict. The slope is at least 0; without verdicts
 * nothing changes.
 */
export function fitStretch(raw: readonly number[], right: readonly boolean[]): Stretch {
  const hits = right.filter(Boolean).length, misses = right.length - hits;
  if (right.length === 0) return noStretch;
  const high = (hits + 1) / (hits + 2), low = 1 / (misses + 2);
  const x = raw.map(logit);
  const { x: [slope, offset] } = minimize((p, gradient) => {
    let value = (p[0] - 1) ** 2 / 2;
    gradient[0] = p[0] - 1;
    gradient[1] = 0;
    x.forEach((logit, i) => {
      const odds = p[1] + p[0] * logit, target = right[i] ? high : low;
      value += Math.max(odds, 0) - target * odds + Math.log1p(Math.exp(-Math.abs(odds)));
      const pull = 1 / (1 + Math.exp(-odds)) - target;
      gradient[0] += pull * logit;
      gradient[1] += pull;
    });
    return value;
  }, Float64Array.from([1, 0]));
  return { slope: Math.max(0, slope), offset };
}
