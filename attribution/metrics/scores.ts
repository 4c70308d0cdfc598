/**
 * Scores of two groups brought onto one scale, as the reference's metrics see them.
 * What is computed from them is in roc.ts; nothing here knows a signal or a label.
 */

/** Finite numbers, at least one of them. */
export type Scores = ArrayLike<number>;

/** Scores of members (what is to be found) and of nonmembers. */
export interface TwoGroups {
  /** What is to be found. */
  readonly members: Float64Array;
  /** What it is told from. */
  readonly nonmembers: Float64Array;
}

/**
 * Divides all scores by the largest one of both groups (1e-6 where that is 0) and, with `membersLower`, replaces each by
 * 1 - score, so that members are expected to score higher. Throws on an empty group and on a score that is not finite.
 *
 * Source: sprintml/DataProvenanceIAR, dataprov/metrics.py (`scale_and_order`). As there, a largest score below 0 turns the
 * order around.
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
