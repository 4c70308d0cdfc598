/** Scales the scores of two groups as the reference does before it computes metrics (roc.ts). */

/** Finite numbers, at least one of them. */
export type Scores = ArrayLike<number>;

/** Scores of members, which are to be detected, and of nonmembers. */
export interface TwoGroups {
  /** Scores of members. */
  readonly members: Float64Array;
  /** Scores of nonmembers. */
  readonly nonmembers: Float64Array;
}

/**
 * Divides all scores by the largest one of both groups (by 1e-6 if that is 0). With `membersLower`, each result r
 * becomes 1 - r, so that members score higher in any case. Throws a RangeError on an empty group and on a score that is
 * not finite.
 *
 * Source: sprintml/DataProvenanceIAR, dataprov/metrics.py (`scale_and_order`). As in the reference, a negative largest
 * score reverses the order.
 */
export function scaleAndOrder(members: Scores, nonmembers: Scores, membersLower = true): TwoGroups {
  let largest = -Infinity;
  for (const [name, scores] of [["members", members], ["nonmembers", nonmembers]] as const) {
    if (scores.length === 0) throw new RangeError(`scaleAndOrder: expected at least one score of ${name}, got none`);
    for (let i = 0; i < scores.length; i++) {
      if (!Number.isFinite(scores[i])) {
        throw new RangeError(`scaleAndOrder: expected finite scores, got ${scores[i]} among the ${name}`);
      }
      largest = Math.max(largest, scores[i]);
    }
  }
  const divisor = largest === 0 ? 1e-6 : largest;
  const scale = (score: number) => membersLower ? 1 - score / divisor : score / divisor;
  return { members: Float64Array.from(members, scale), nonmembers: Float64Array.from(nonmembers, scale) };
}
