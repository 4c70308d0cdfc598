/**
 * Fits how raw confidences become rates of being right (Platt 1999), to verdicts whose truth is known.
 * decision/classifiers/confidence.ts applies what is fitted here.
 */
import { logit, noStretch, type Stretch } from "../decision/classifiers/confidence.ts";
import { minimize } from "./lbfgs.ts";

/**
 * Fits to raw confidences and whether each verdict was right, by least loss with Platt's targets, which leave room for errors
 * that did not happen to occur, and a penalty on leaving slope 1, worth one verdict. The slope is at least 0.
 */
export function fitStretch(raw: readonly number[], right: readonly boolean[]): Stretch {
  const hits = right.filter((each) => each).length, misses = right.length - hits;
  if (right.length === 0) return noStretch;
  const high = (hits + 1) / (hits + 2), low = 1 / (misses + 2);
  const x = raw.map(logit);
  const { x: found } = minimize((p, gradient) => {
    let value = (p[0] - 1) ** 2 / 2;
    gradient[0] = p[0] - 1;
    gradient[1] = 0;
    x.forEach((own, i) => {
      const odds = p[1] + p[0] * own, target = right[i] ? high : low;
      value += Math.max(odds, 0) - target * odds + Math.log1p(Math.exp(-Math.abs(odds)));
      const pull = 1 / (1 + Math.exp(-odds)) - target;
      gradient[0] += pull * own;
      gradient[1] += pull;
    });
    return value;
  }, Float64Array.from([1, 0]));
  return { slope: Math.max(0, found[0]), offset: found[1] };
}
